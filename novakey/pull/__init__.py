"""Programs that ask for secrets, each by the contract of its own ecosystem.

    client          waiting for the secret, over the owner's socket
    askpass         SSH_ASKPASS, GIT_ASKPASS, SUDO_ASKPASS
    pinentry        gpg-agent (the Assuan protocol)
    password_agent  systemd-ask-password
    browser         the extension of a browser (native messaging)
    browser_manifests  where each browser finds our host
    browser_pipe       standard input and output, to the browser
    exec_child      a secret for one child, in its environment or on a descriptor
    person          the person at the terminal or the desktop

Each is thin: the secret comes from a `SecretSource`, which waits for a phone.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import BinaryIO, cast

from novakey.errors import NovaKeyError
from novakey.secret import Secret


class WaitedTooLong(NovaKeyError):
    """No phone sent a secret in time."""


SecretSource = Callable[[str, float | None], Secret]
"""Waits for a secret: a prompt, and seconds or None for the default. `NovaKeyError` when none comes."""


def write(output: BinaryIO, secret: Secret, end: bytes) -> None:
    """Write a secret, then `end`, to an output without a buffer, so that no copy is left here."""
    with secret.view() as view:
        write_all(output, view)
    write_all(output, memoryview(end))


def write_all(output: BinaryIO, data: memoryview) -> None:
    """Write all of it; an output without a buffer may take less at once."""
    written = 0
    while written < len(data):
        with data[written:] as rest:
            count = cast("int | None", output.write(rest))
        if count is None:  # it does not wait, and has no room now
            select.select([], [output], [])
        else:
            written += count
