"""Wayland, where the compositor lets us type.

wlroots           typing under sway and its relatives
clipboard_only    sessions that let no program type
session           reaching the compositor
wire              the Wayland wire
protocol          the requests that we send, by name
typing            a few keys, a look at the focus, and on
virtual_keyboard  a keyboard of our own
keymap            its map (XKB text format)
focus             the window with the focus
focus_window      a window of one pixel that has it for a moment
sway              sway's own socket
selection         owning the clipboard
"""
