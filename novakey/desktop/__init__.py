"""Typing and the clipboard, for each kind of desktop.

base      the contract of a backend
select    the backend of the session that is here now
lifetime  the end of that session
chunks    typing where nothing can be grabbed
keysyms   characters as keysyms
pipe      a text for a program that pastes it
x11/      X11
wayland/  wlroots compositors, and the clipboard elsewhere
remote/   GNOME and the portal, which press keys for us
windows/  Microsoft Windows
macos/    macOS
"""
