"""Microsoft Windows.

backend    the contract of desktop.base
calls      system calls
focus      the window with the focus
keyboard   SendInput
clipboard  the clipboard
"""
