"""A field of a web page as the target of a secret, and what its browser says became of it."""

from __future__ import annotations

from typing import NamedTuple

from novakey.sites.origin import Site
from novakey.wire.refused import Refused, filled, target_refused

FILLED = "filled"

# What the script in the page says, other than that the field holds exactly the secret.
_BECAME = {
    "altered": "the page changed the text, so the field was emptied again",
    "navigated": "the page went to another address, so nothing was filled",
    "gone": "the field or its tab is gone, so nothing was filled",
    "unsuitable": "the field is hidden, read-only, disabled or takes no text, so nothing was filled",
    "site_changed": "the form sends to another site now, so nothing was filled",
    "cancelled": "it was cancelled in the browser, so nothing was filled",
    "failed": "the browser could not fill the field, and nothing stays in it",
}
OUTCOMES = frozenset({FILLED, *_BECAME})
AFTER_SECRET = frozenset({FILLED, "altered"})


class Page(NamedTuple):
    """The site of a page that asks. `warning` is what the owner is to be told loudly; mostly empty."""

    site: Site
    first_time: bool = False
    warning: str = ""

    @property
    def caution(self) -> str:
        """What the question about it begins with."""
        if self.warning:
            return f"CAREFUL: {self.warning}. "
        return "First time on this site. " if self.first_time else ""


def sentence(outcome: str) -> str:
    """Return what an outcome of `OUTCOMES` other than `FILLED` means, for people."""
    return _BECAME[outcome]


def refusal(site: Site, outcome: str) -> Refused | None:
    """Return what the phone is told of an outcome of `OUTCOMES`; None for `FILLED`."""
    if outcome == FILLED:
        return None
    return target_refused(filled("{}: " + sentence(outcome), str(site)))
