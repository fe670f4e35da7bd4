"""The person at the computer, over the message bus.

dbus           one connection to a bus
notifications  notifications, with buttons
mdns           this computer's name on the local network
screen_lock    whether the screen is locked
viewer         a picture in the person's viewer
input_method   whether an input method makes other characters of the keys
atspi          the element with the focus (AT-SPI)
"""
