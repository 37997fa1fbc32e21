"""A recording with marked moments in, dictionaries of its own sources out."""
