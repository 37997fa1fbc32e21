"""What a browser shows: the audio player that the HTML report and the web page share, and their styles."""
