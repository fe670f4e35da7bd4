"""X11: typing by XTEST, all of a text or nothing.

backend     the contract of desktop.base
display     a display that rejects a second greenlet
connection  one connection to the server
transport   requests as bytes, and their replies
wire        the bytes of each request and reply
warm        a connection made ahead
snapshot    the state at the beginning of a step, in one round trip
focus       the window with the focus
window      one window
keymap      from keysyms to keys
typing      the steps under the grab of the server
machines    windows that show another machine
holder      who holds the keyboard
record      the bytes of the RECORD extension
held_keys   keys that are down while we type
settle      when a program has read its keys
recovery    what a killed delivery left
selection   owning the clipboard (ICCCM)
"""
