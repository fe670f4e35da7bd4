"""The window in which a phone may pair.

state      the states and events, as one table
model      what the states are made of
window     opening one, and its end
handshake  hello, server key, register, acknowledgement
refusal    which phones may not pair, in words
display    the QR as a picture and on the terminal
qr         the QR itself
record     what is remembered over restarts
turn       one event after the other
clock      a clock that notices jumps
status     how pairing stands
"""
