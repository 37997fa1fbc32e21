"""The command line, a front end over the public API of `sepdict`.

Nothing here imports torch, or anything that does, outside a command: `--help` has to answer at once.
"""
