"""Which way a text takes to the screen. The policy stands here; the reply names the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

import gevent

from novakey.config.settings import Settings
from novakey.desktop.base import Backend, CannotType, Delivery, DesktopError, Focus, NoDisplayError
from novakey.messages.clearing import ClipboardEnds
from novakey.secret import Secret
from novakey.wire.refused import Refused
from novakey.wire.reply import Outcome

log = logging.getLogger(__name__)

LAST_S = 0.5  # left for the clipboard, where typing took all the time
READY_S = 1.0  # what was made ready is not looked at again for so long, however often a phone arms
FOCUS_S = 1.0  # reading it is quick, or it hangs


class Checked(Delivery, Protocol):
    """A delivery that may go on the clipboard too."""

    @property
    def is_open(self) -> bool:
        """Whether a check has passed: from then on a part of the text may be out."""

    def check_copy(self, focus: Focus | None) -> None:
        """Raise `Refused` unless the text may go on the clipboard while this has the focus."""


class InputMethods(Protocol):
    """The input methods of the session."""

    def obstacle(self) -> str | None:
        """Return why a text that is typed now would not arrive as it is; None where nothing tells so."""

    def close(self) -> None:
        """Close the connection to them."""


class Delivered(NamedTuple):
    """How a delivery ended. `may_be_out` is false where provably nothing of the text has left us."""

    outcome: Outcome
    msg: str
    may_be_out: bool = False


class Output:
    """Delivers a text to the desktop that `choose` finds at that moment.

    `choose` gives a backend or raises `NoDisplayError`: a session may start
    after the daemon, and go away again.
    """

    def __init__(
        self,
        settings: Settings,
        choose: Callable[[], Backend],
        input_methods: Callable[[], InputMethods] | None = None,
    ) -> None:
        self._settings = settings
        self._choose = choose
        self._make_input_methods = input_methods
        self._input_methods: InputMethods | None = None
        self._ends = ClipboardEnds(settings.clipboard_clear_s)
        # A helper or display that hangs must not hold the next delivery for longer.
        self._deadline_s = float(settings.delivery_timeout_s)
        self._job: gevent.Greenlet | None = None
        self._preparing: gevent.Greenlet | None = None
        self._prepared = float("-inf")
        self._stopping = False

    def deliver(self, text: Secret, delivery: Checked) -> Delivered:
        """Type the text or, if the settings say so, put it on the clipboard. Raises what a check raised."""
        return self._in_time(delivery, lambda: self._deliver(text, delivery))

    def copy(self, text: Secret, delivery: Checked) -> Delivered:
        """Put the text on the clipboard only. Raises what its check raised."""
        return self._in_time(delivery, lambda: self._copy(text, self._deadline_s, delivery))

    def stop(self) -> None:
        """End the delivery that is running now, in the middle of a text too; there are no more."""
        self._stopping = True
        if self._job is not None:
            self._job.kill(block=False)
        if self._input_methods is not None:
            self._input_methods.close()

    def prepare(self) -> None:
        """Prepare for the delivery that is likely after a phone armed. Returns at once."""
        now = time.monotonic()
        if now - self._prepared >= READY_S and (self._preparing is None or self._preparing.dead):
            self._prepared = now
            self._preparing = gevent.spawn(self._prepare)

    def _prepare(self) -> None:
        with suppress(NoDisplayError):
            self._choose().prepare()

    def recover(self) -> None:
        """Undo what a delivery of a daemon that was killed has left changed, where there is a display."""
        try:
            self._choose().recover()
        except NoDisplayError as error:
            log.warning("nothing can be typed yet: %s; for the cure: novakey.py doctor", error)

    def _in_time(self, delivery: Checked, work: Callable[[], Delivered]) -> Delivered:
        """Run in a greenlet that can be ended from outside, even if a backend hangs."""
        if self._stopping:
            return Delivered(Outcome.INTERNAL_ERROR, "the daemon is stopping")
        job = self._job = gevent.spawn(_caught, work)
        try:
            done = job.get(timeout=self._deadline_s + 2 * LAST_S)
        except gevent.Timeout:
            return _cut("the desktop did not answer in time", delivery)
        finally:
            self._job = None
            job.kill(block=False)
        if isinstance(done, gevent.GreenletExit):
            return _cut("the daemon is stopping", delivery)
        if isinstance(done, Delivered):
            return done
        if isinstance(done, Refused) or not delivery.is_open:
            raise done
        log.error("a fault in the middle of a delivery", exc_info=done)
        return _cut("a fault in the daemon", delivery)

    def _deliver(self, text: Secret, delivery: Checked) -> Delivered:
        until = time.monotonic() + self._deadline_s
        try:
            backend = self._choose()
        except NoDisplayError as error:
            return Delivered(Outcome.INTERNAL_ERROR, f"no usable display: {error}")
        if backend.name == "macos" and self._settings.macos_prefer_clipboard:
            return self._paste(backend, text, delivery)
        if not self._settings.allow_typing_fallback:
            if not self._settings.allow_clipboard_on_inject_failure:
                problem = "typing is off (allow_typing_fallback) and so is the clipboard"
                return Delivered(Outcome.INTERNAL_ERROR, problem)
            return self._paste(backend, text, delivery)
        try:
            self._check_input_method(backend)
            backend.type_text(text, self._deadline_s, delivery)
        except DesktopError as error:
            return self._instead(backend, text, error, max(LAST_S, until - time.monotonic()), delivery)
        return Delivered(Outcome.TYPED, backend.typed_msg, True)

    def _check_input_method(self, backend: Backend) -> None:
        if self._make_input_methods is None or backend.name in ("windows", "macos"):
            return
        if self._input_methods is None:
            self._input_methods = self._make_input_methods()
        obstacle = self._input_methods.obstacle()
        if obstacle is not None:
            raise DesktopError(obstacle)

    def focus(self) -> Focus | None:
        """Return what has the focus now; None where that cannot be told."""
        try:
            return self._choose().focus(FOCUS_S)
        except NoDisplayError:
            return None

    def _copy(self, text: Secret, deadline_s: float, delivery: Checked) -> Delivered:
        try:
            backend = self._choose()
            delivery.check_copy(self.focus())
            with self._ends.placing(backend):
                backend.copy(text, deadline_s)
        except NoDisplayError as error:
            return Delivered(Outcome.INTERNAL_ERROR, f"no usable display: {error}")
        except DesktopError as error:
            return Delivered(Outcome.INTERNAL_ERROR, f"the clipboard failed: {error}", error.typed > 0)
        return Delivered(Outcome.COPIED, "on the clipboard, paste it", True)

    def _paste(self, backend: Backend, text: Secret, delivery: Checked) -> Delivered:
        delivery.check_copy(self.focus())  # where nothing has the focus it stays on the clipboard
        try:
            with self._ends.placing(backend):
                pasted = backend.paste(text, self._deadline_s, delivery)
        except CannotType:
            return self._copied_instead(backend, text, self._deadline_s, delivery)
        except DesktopError as error:
            return Delivered(Outcome.INTERNAL_ERROR, f"the clipboard failed: {error}", error.typed > 0)
        if pasted:
            return Delivered(Outcome.PASTED, "pasted", True)
        return Delivered(Outcome.COPIED, "on the clipboard, paste it", True)

    def _instead(
        self, backend: Backend, text: Secret, error: DesktopError, deadline_s: float, delivery: Checked
    ) -> Delivered:
        if error.whole:
            return Delivered(Outcome.TYPED, f"typed, not confirmed: {error}", True)
        if error.typed:
            # Half a secret stands somewhere: a second copy of it would only do more harm.
            problem = f"stopped after {error.typed} characters: {error}"
            return Delivered(Outcome.INTERNAL_ERROR, problem, True)
        if not self._settings.allow_clipboard_on_inject_failure:
            return Delivered(Outcome.INTERNAL_ERROR, f"nothing was typed: {error}")
        if isinstance(error, CannotType):
            return self._copied_instead(backend, text, deadline_s, delivery)
        return self._copy(text, deadline_s, delivery)

    def _copied_instead(
        self, backend: Backend, text: Secret, deadline_s: float, delivery: Checked
    ) -> Delivered:
        """Copy where no program may type; the reply has a name of its own for that on Wayland alone."""
        copied = self._copy(text, deadline_s, delivery)
        if copied.outcome is Outcome.COPIED and backend.name not in ("windows", "macos"):
            return copied._replace(outcome=Outcome.COPIED_WAYLAND)
        return copied


def _caught(work: Callable[[], Delivered]) -> Delivered | Exception:
    """Return the result or the error; gevent would print it if raised here."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  (raised again where the result is waited for)
        return error


def _cut(problem: str, delivery: Checked) -> Delivered:
    """Return the result of a delivery that was cut at an unknown place."""
    if not delivery.is_open:
        return Delivered(Outcome.INTERNAL_ERROR, f"nothing was typed: {problem}")
    return Delivered(Outcome.INTERNAL_ERROR, f"{problem}; some of the text may be typed", True)
