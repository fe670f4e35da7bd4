"""What `novakey.py setup` puts in place, and takes away again.

    answers         the three questions, and what may be answered
    configuration   the commented file that follows from them
    service         the user unit, made for this installation, and systemd
    autostart       an entry for sessions that start no services
    record          what was put where, so that it can be taken away
    installation    all of it in order, and back

Nothing that was there before is lost: an older configuration is kept beside
the new one, and put back at the end.
"""
