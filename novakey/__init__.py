"""NovaKey: a phone as a secure keyboard. This is the map.

A message comes in at the top and goes down; an import points down too. A test
(tests/test_structure.py) holds the package to it.

    __main__ cli/           words in, exit code out; the only place that prints an error
    setup/ doctor/          what the owner does, and checks
    daemon/                 the daemon: start, server, record, notifications, reset, import
    pull/ phone like_app    programs that ask for secrets; the reference phone; what the app does
    control/                the owner's socket
    messages/               may a message act, and to whom does its secret go?
    pairing/                the window in which a phone may pair
    desktop/                typing and the clipboard
    session/ devices/ net/ terminal  the person; what is kept; connections; a terminal
    log/ wire/ sites/       one safe line a record; pure bytes; the sites of web pages
    config/                 settings
    system/ feed secret errors  leaves, which import nothing of ours but each other

The way of a secret: `daemon.server.Server` reads a frame through `net.stream.Stream`;
`wire.message` takes it apart and opens it; `messages.handler.Handler.answer`
asks whether it is fresh, new, not too often, armed, approved and safe text;
`messages.output.Output` gives it to a `desktop` backend; `wire.reply` makes
the line that goes back. Between the phone and the keys it is a `secret.Secret`.

The wire knows no socket, no clock and no log. Everything concurrent is gevent,
whose monkey-patching happens in `__main__`, before any other import.
"""

__version__ = "0.1.0"
