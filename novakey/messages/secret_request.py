"""One program that waits for a secret, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import Event

from novakey.errors import NovaKeyError
from novakey.messages import pages
from novakey.messages.pages import Page
from novakey.messages.prompt import Prompt
from novakey.messages.targets import RequestTarget
from novakey.secret import Secret
from novakey.wire.refused import Refused, Sentence, filled, full
from novakey.wire.reply import Outcome

TAKE_S = 2.0  # the program that asked reads from a local socket
FILL_S = 3.0  # the page's script fills the field and compares it; the phone waits for five


class SecretRequest:
    """One program that waits. `prompt` is what it says that it needs; it is shown, never trusted.

    `phones` are the devices that the question about it names, and `approved` those of them that the
    owner's answer was for: nothing more need be asked about them. `shown_ms` is when it came.
    """

    def __init__(
        self,
        number: int,
        program: str,
        pid: int,
        prompt: str,
        device_id: str | None,
        phones: tuple[str, ...] = (),
        shown_ms: float = 0.0,
        page: Page | None = None,
    ) -> None:
        self.number = number
        self.program = program
        self.pid = pid
        self.prompt = prompt
        self.device_id = device_id
        self.phones = phones
        self.shown_ms = shown_ms
        self.page = page
        self.approved: set[str] = set()
        self.is_allowed = False  # by the owner, in an answer to a question about it
        self.confirmed = Event()
        self.given = Event()
        self.taken = Event()  # or failed
        self.failure: Refused | None = None
        self.secret: Secret | None = None
        self.refused = ""
        self.refused_by: str | None = None  # a word for programs
        self.was_left = False  # by its program, so that a secret may be on its way
        self.question: Prompt | None = None

    def called(self, text: str = "{}") -> Sentence:
        """Return `text` with how it is called in place of `{}`. The site of a page is no program's name."""
        number, place = f"request {self.number}", "" if self.page is None else f" for {self.page.site}"
        asker = f"{number} of {self.program} (process {self.pid})"
        return filled(text, Sentence(number + place, asker + place))

    def called_given(self) -> Sentence:
        """Return what the phone is told where the program has the secret."""
        if self.page is None:
            return self.called("given to {}")
        told = f"filled on {self.page.site}"
        return Sentence(told, f"{told} ({self.program}, process {self.pid})")

    @property
    def success(self) -> str:
        """What stands in the record where the program has the secret."""
        return "given" if self.page is None else pages.FILLED

    @property
    def take_s(self) -> float:
        """How long the program may take to say that it has the secret."""
        return TAKE_S if self.page is None else FILL_S

    def settle(self, failure: Refused | None = None) -> None:
        """Note what became of the secret, once: it is taken, or this is why not."""
        if not self.taken.is_set():
            self.failure = failure
            self.taken.set()

    def untaken(self) -> Refused:
        """Return the refusal where the program says nothing."""
        if self.page is None:
            return Refused(Outcome.INTERNAL_ERROR, self.called("{} did not take the secret"))
        told = "the browser did not say whether it filled {}: look at the page"
        return Refused(Outcome.INTERNAL_ERROR, filled(told, str(self.page.site)))

    @property
    def target(self) -> RequestTarget:
        """What an approval for it is tied to."""
        return RequestTarget(self.number, self.program, full(self.called()))


class UnansweredError(NovaKeyError):
    """The owner did not answer the question about a request."""


Confirm = Callable[[SecretRequest], bool]
"""Asks the owner whether the program may have a secret; blocks. `NovaKeyError` if no answer came."""

Note = Callable[[SecretRequest, str, str], None]
"""Keeps account: a request, what became of it, and the device that did it or an empty text."""
