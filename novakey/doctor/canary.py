"""Awkward characters, typed through the real backend into a place of our own, and compared.

The canary is no secret, so a report may quote it. No daemon need run: what is
tried is this session's way of typing, not the way from a phone.
"""

from __future__ import annotations

import sys
import time
import unicodedata
from contextlib import AbstractContextManager
from typing import Protocol

from novakey.config.settings import Settings
from novakey.desktop.base import Backend, Delivery, DesktopError, NoDisplayError
from novakey.desktop.select import Chooser
from novakey.doctor.finding import About, Finding
from novakey.secret import Secret
from novakey.wire.refused import Refused

TYPE_S = 15.0
ARRIVE_S = 3.0

# What layouts put behind modifiers and dead keys, what shells and markup take for their own, letters that
# no layout here has, one beyond the first 65536, and a character twice.
ASCII = "aA zZ 09 @|\\~^`'\"$&<>{}[]()#%!?*=+-_/.,;:  yYzZ"
CANARY = ASCII + " äÖß éçñ €£§° ¿ø Жя λΩ 漢字 e\u0301 😀"


class Place(Delivery, Protocol):
    """Where the canary is typed into, and nowhere else. As a context it is there, and has the focus."""

    def received(self) -> str:
        """Return what has been typed into it so far."""


def examine(settings: Settings) -> Finding:
    """Type it, and say what became of it."""
    about = About("typing", "each character of a secret must arrive as it was sent")
    if settings.desktop_backend == "none":
        return about.note("desktop_backend is none: nothing is typed", "to type, set desktop_backend: auto")
    chooser = Chooser(settings.desktop_backend)
    try:
        backend = chooser()
        text = CANARY if backend.name == "x11" or _terminal_is_utf8() else ASCII
        with _place(backend) as place:
            backend.type_text(Secret(text.encode()), TYPE_S, place)
            return _compare(about, backend.name, text, _wait(place, len(text)))
    except NoDisplayError as error:
        return about.fault(f"no display can be used: {error}", "see the line about the display")
    except Refused as error:
        return about.fault(str(error), "leave the focus where it is, and try again")
    except DesktopError as error:
        return about.fault(
            f"after {error.typed} characters: {error}", "see docs/desktop.md for what is known"
        )
    finally:
        chooser.close()


def _place(backend: Backend) -> AbstractContextManager[Place]:
    if backend.name == "x11":
        from novakey.doctor.window import Window

        return Window()
    from novakey.doctor.line import Line

    return Line()


def _terminal_is_utf8() -> bool:
    from novakey.terminal import Screen

    return Screen.of(sys.stdout).utf8


def _wait(place: Place, count: int) -> str:
    until = time.monotonic() + ARRIVE_S
    while len(place.received()) < count and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.05)  # what comes too much
    return place.received()


def _compare(about: About, backend: str, sent: str, got: str) -> Finding:
    if got == sent:
        return about.ok(f"{len(sent)} awkward characters arrived as they were sent ({backend})")
    at = next(
        (i for i, (a, b) in enumerate(zip(sent, got, strict=False)) if a != b), min(len(sent), len(got))
    )
    return about.fault(
        f"{len(got)} characters came of {len(sent)} ({backend}); number {at + 1} was {_name(sent, at)} and "
        f"came as {_name(got, at)}",
        "try another desktop_backend or keyboard layout; docs/desktop.md says what is known not to work",
    )


def _name(text: str, at: int) -> str:
    """Return any character in a form for people."""
    if at >= len(text):
        return "nothing"
    return f"U+{ord(text[at]):04X} ({unicodedata.name(text[at], 'a control character').lower()})"
