"""The daemon: how it starts, serves and records, and what the owner does to its files.

app            start, serve, stop
startup        what is found on disk, and what follows
server         one port, two routes
audit          the record of decisions
notifications  what the person is notified of
preload        what serving imports on demand, imported soon after the start
reset          the full uninstall
import_legacy  taking over from the existing daemon
backup         every pairing in one file, and the way back
adopt_devices  devices that come from elsewhere
"""
