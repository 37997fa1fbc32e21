"""A source's dictionary: its decoder, file, card and exemplars, the library of installed ones, its sound, its tests."""
