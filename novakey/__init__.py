"""NovaKey: a phone as a secure keyboard. This is the map.

A message comes in at the top and goes down; an import points down too. A test
(tests/test_structure.py) holds the package to it.

    __main__ cli commandline commands/  words in, exit code out; the only place that prints an error
    app phone doctor/ setup/ importing reset completion  the daemon; the reference phone; what the owner does
    notices audit adapters/  telling and asking the person; the record; programs that ask for secrets
    server listening admission  one port, two routes, a greenlet for each connection; who may connect
    control/                owner overview server listener client logfeed: the owner's socket
    startup                 what is found on disk at start, and what follows
    status                  how pairing stands
    pairing/                windows display handshake seats record qr state: the window and its table
    messages/               handler account replay ledger ratelimit inject asks text gates approval target
                            passwordfield deliver: may it be given away, and to whom?
    desktop/                choose x11 wayland windows macos base: typing and the clipboard
    session/                notify lock accessible bus: the person at the computer, over the message bus
    devices/                store serverkeys sealed sealing/: what is kept, and under which key
    stream log logfile logthrottle terminal systemd feed  bounded reads; logging; who listens
    config configcheck configfile configkeys configkey  settings
    wire/                   pair message reply control uri preface crypto jsonline: pure bytes
    files paths secret errors process processes  leaves, which import nothing of ours but each other

The way of a secret: `server.Server` reads a frame through `stream.Stream`;
`wire.message` takes it apart and opens it; `messages.handler.Handler.answer`
asks whether it is fresh, new, not too often, armed, approved and safe text;
`messages.deliver.Courier` gives it to a `desktop` backend; `wire.reply` makes
the line that goes back. Between the phone and the keys it is a `secret.Secret`.

The wire knows no socket, no clock and no log. Everything concurrent is gevent,
whose monkey-patching happens in `__main__`, before any other import.
"""

__version__ = "0.1.0"
