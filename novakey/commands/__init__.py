"""The commands, by what they are about.

    owner        the daemon itself and what it keeps: serve, config, doctor, import, reset
    pair         the QR, live
    control      the running daemon: status, devices, arm, disarm, approve, deny, log
    phone        being a phone
    completion   the shells

Each module has `add(commands)`, which adds its words to the command line, and
one function a command, which takes the parsed words and returns an exit code.
"""
