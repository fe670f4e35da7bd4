"""macOS.

backend     the contract of desktop.base
calls       system calls
focus       what has the focus
keyboard    Quartz events
pasteboard  the clipboard
"""
