"""The page of `sepdict serve`: its server, its jobs and its static files."""
