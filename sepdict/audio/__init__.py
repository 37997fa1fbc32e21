"""Sound as it is kept: signals, files read and written whatever they claim, folders searched, blocks that overlap."""
