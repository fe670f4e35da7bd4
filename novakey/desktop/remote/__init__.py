"""Desktops that press keys for us, on the person's keyboard map.

backend  what they share
gnome    mutter's own interface
portal   the desktop portal
seat     the keyboard map of the session
lag      waiting for keys that go through an input method
shell    what GNOME tells of itself
sources  which layout is in effect under GNOME
xkb      what its keys type
"""
