"""The commands, by who gives them: the daemon's operator, the owner, or a phone.

Each module has `add(commands)`, which adds its words to the command line, and
one function a command, which takes the parsed words and returns an exit code.
"""
