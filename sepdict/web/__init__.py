"""What a browser shows: the page of `sepdict serve`, and the audio player that it shares with the HTML report."""
