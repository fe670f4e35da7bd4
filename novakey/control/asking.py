"""The operations of programs that ask for a secret: `ask` for a program, `fill` for a field of a web page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from novakey.control.overview import DaemonContext
from novakey.control.reports import Reports
from novakey.control.server import Live
from novakey.devices.store import Device
from novakey.errors import NovaKeyError
from novakey.log.format import escape
from novakey.messages import pages
from novakey.messages.pages import Page
from novakey.messages.requests import NOT_NOW, QueueFullError
from novakey.messages.secret_request import SecretRequest
from novakey.sites import origin as origins
from novakey.sites.origin import Site, SiteError
from novakey.system import attended, procfs
from novakey.wire.control import Event
from novakey.wire.refused import full

log = logging.getLogger(__name__)

MAX_PROMPT = 500  # characters
# How often a program in the queue is told its place; only while one waits.
PLACE_S = 1.0
_MAX_ASKED = 3  # names of phones in a question

# Why a browser gets nothing; its extension words them.
CANCELLED, DONE = "cancelled", "done"
REFUSED_SITE, BUSY, BAD_REQUEST = "refused_site", "busy", "bad_request"


class _EndedError(Exception):
    """A browser's request ended without a secret."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.answer = {"reason": reason, "message": message}


class Asking:
    """Waits for secrets, over the parts of a running daemon. `device` finds a device by what it is called."""

    def __init__(self, context: DaemonContext, device: Callable[[str], Device]) -> None:
        self._settings = context.settings
        self._devices = context.devices
        self._requests = context.injector.requests
        self._sites = context.sites
        self._device = device

    def ask(self, prompt: str, pid: int, device: str | None = None) -> Live:
        """Wait for a secret on behalf of the process `pid`, until a phone sends one or the owner hangs up."""
        if not prompt.isprintable() or len(prompt) > MAX_PROMPT:
            raise NovaKeyError(f"a prompt is at most {MAX_PROMPT} printable characters")
        request = self._begin(pid, prompt, device, attended.is_seen(pid))
        try:
            yield from self._wait(request)
            if request.secret is None or self._requests.place(request) < 0:
                raise NovaKeyError(request.refused or "the request is over")
            yield request.secret
            request.settle()
        finally:
            self._requests.end(request)

    def fill(self, origin: str, pid: int, reports: Reports, device: str | None = None) -> Live:
        """Wait for a secret for a field of a page of `origin`, and for what became of it there.

        Its answer is `reason` and `message`, also where nothing was filled.
        """
        try:
            yield from self._fill(self._page(origin), pid, reports, device)
        except _EndedError as ended:
            yield ended.answer
        except QueueFullError as error:
            yield {"reason": BUSY, "message": error.in_one_line}
        except NovaKeyError as error:
            yield {"reason": NOT_NOW, "message": error.in_one_line}

    def _fill(self, page: Page, pid: int, reports: Reports, device: str | None) -> Live:
        request = self._begin(pid, f"a field of {page.site}", device, False, page)
        reports.then(lambda outcome: self._became(request, page.site, outcome))
        try:
            yield from self._wait(request)
            if request.secret is None or self._requests.place(request) < 0:
                reason = NOT_NOW if request.refused_by is None else request.refused_by
                raise _EndedError(reason, request.refused or "the request is over")
            if not request.taken.is_set():  # it may have been cancelled in this very moment
                yield request.secret
                request.taken.wait(request.take_s)
            request.settle(request.untaken())
            if request.failure is not None:
                raise _EndedError(DONE, str(request.failure.msg))
            self._sites.remember(page.site)
            yield {"reason": DONE, "message": str(request.called_given())}
        finally:
            if request.given.is_set():
                request.settle(request.untaken())  # it hung up with the secret
            self._requests.end(request)

    def _became(self, request: SecretRequest, site: Site, outcome: str) -> None:
        """Take what the browser says of the field, before or after it was given the secret."""
        known = outcome in pages.OUTCOMES
        if request.given.is_set():
            request.settle(pages.refusal(site, outcome) if known else request.untaken())
            return
        request.was_left = True
        if known and outcome not in pages.AFTER_SECRET:
            self._requests.refuse(request, CANCELLED, pages.sentence(outcome))
        else:
            self._requests.refuse(request, BAD_REQUEST, "the browser told of a secret that it does not have")

    def _page(self, origin: str) -> Page:
        """Return the page with what its owner is told of it; `_EndedError` where its site gets no secret."""
        try:
            site = origins.parse(origin, self._settings.browser_allow_http)
        except SiteError as error:
            log.info("a page is refused: %s", error)
            raise _EndedError(REFUSED_SITE, str(error)) from None
        page = Page(site, *self._sites.judge(site))
        problem = ""
        if page.first_time and self._settings.browser_new_sites == "refuse":
            problem = f"{site} had no secret before, and browser_new_sites is refuse"
        elif page.warning and not self._requests.asks_owner:
            problem = f"{site} is refused where no person is asked (ask_confirm): {page.warning}"
        if problem:
            log.warning("a page is refused: %s", escape(problem, MAX_PROMPT))
            raise _EndedError(REFUSED_SITE, problem)
        return page

    def _begin(
        self, pid: int, prompt: str, device: str | None, seen: bool, page: Page | None = None
    ) -> SecretRequest:
        if not len(self._devices):
            raise NovaKeyError("no phone is paired", "pair one: novakey.py pair")
        wanted = None if device is None else self._device(device).id
        phones = tuple(device.id for device in self._devices if wanted in (None, device.id))
        named = phones if len(phones) <= _MAX_ASKED else ()
        program = procfs.describe(pid)
        request = self._requests.begin(program, pid, prompt, wanted, seen, named, page)
        log.info("%s waits for a phone: %s", full(request.called()), escape(prompt, MAX_PROMPT))
        return request

    def _wait(self, request: SecretRequest) -> Iterator[Any]:
        """Tell the request's place until it has its secret or is over."""
        # Where no person can be asked that is known by then, and it never waited for a phone.
        request.confirmed.wait(PLACE_S)
        stands = None
        while not request.refused:
            if stands != (stands := (self._requests.place(request), request.confirmed.is_set())):
                members = {"number": request.number, "before": stands[0], "confirmed": stands[1]}
                yield Event("waiting", members)
            if request.given.wait(PLACE_S):
                break
