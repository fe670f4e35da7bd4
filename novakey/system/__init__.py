"""The machine underneath: files, folders, processes, the service manager.

attended   whether somebody sees a terminal
clock      the clock that counts the time asleep
files      files of the owner's alone, replaced whole
folder_lock  one daemon for each data folder
interfaces  the addresses and networks of this computer
paste      commands for people to paste
paths      the folders of this user, or of --data-dir
peer       the process at the other end of a local socket
process    what this process gives away about itself
procfs     what the system says about another process (proc(5))
sanitize   text that others chose, made fit to be shown
systemd    the service manager's sockets and notices
tty        a terminal's settings, restored after a question without echo
"""
