"""Reaching the compositor of this session: with a deadline, and every fault as a `DesktopError`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import gevent

from novakey.desktop.base import OUTSIDE_SESSION, CannotType, DesktopError, Unusable
from novakey.desktop.wayland.sway import SwayError
from novakey.desktop.wayland.wire import ERRORS, Connection, ProtocolError, socket_path

PROBE_S = 1.0


def probe() -> frozenset[str] | Unusable:
    """Return the interfaces that the compositor offers, or why it cannot be asked."""
    if not os.environ.get("WAYLAND_DISPLAY"):
        return Unusable("WAYLAND_DISPLAY is not set", OUTSIDE_SESSION)
    if socket_path(os.environ) is None:
        return Unusable("XDG_RUNTIME_DIR is not set", OUTSIDE_SESSION)
    try:
        with within(PROBE_S), connect() as connection:
            return frozenset(connection.globals)
    except DesktopError as error:
        return Unusable(str(error), OUTSIDE_SESSION)


def connect() -> Connection:
    """Return a connection to the compositor; only inside `within`."""
    path = socket_path(os.environ)
    if path is None:
        raise DesktopError("no compositor is named in the environment")
    return Connection(path)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Set a deadline, and turn every error of the connection into a `DesktopError`."""
    with gevent.Timeout(max(0.001, seconds)) as timer:
        try:
            yield
        except gevent.Timeout as expired:
            if expired is not timer:
                raise
            raise DesktopError("the compositor did not answer in time") from None
        except ProtocolError as error:
            raise CannotType(f"the compositor refused ({error})") from None
        except SwayError as error:
            raise DesktopError(str(error)) from None
        except ERRORS as error:
            raise DesktopError(f"the compositor cannot be reached: {_one_line(error)}") from None


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split())[:200] or type(error).__name__
