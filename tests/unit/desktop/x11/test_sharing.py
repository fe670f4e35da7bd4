"""A connection to the X server has one user at a time, and leads to the display that was named for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import gevent
import pytest
from support.delivery import anywhere
from support.x11 import XServer, display_of, wait_until

from novakey.desktop.base import DesktopError
from novakey.desktop.x11.backend import X11Backend
from novakey.desktop.x11.connection import Connection
from novakey.desktop.x11.display import ConnectionMisuseError, GuardedDisplay
from novakey.desktop.x11.selection import SelectionOwner
from novakey.desktop.x11.warm import WARM, WarmConnection
from novakey.doctor import session
from novakey.secret import Secret

SOON_S = 10


@pytest.fixture(autouse=True)
def nothing_is_ready(server: XServer) -> Iterator[None]:
    Connection().close()  # python-xlib asks `uname` at its first one, before it looks at the environment
    WARM.close()
    yield
    WARM.close()


@contextmanager
def stopped(server: XServer) -> Iterator[None]:
    """Stop the server: it reads and answers nothing until the end."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def waiting(work: Callable[[], object]) -> gevent.Greenlet:
    """Return a greenlet that does it, which by now waits for the server."""
    greenlet = gevent.spawn(work)
    gevent.sleep(0)
    gevent.sleep(0)
    assert not greenlet.ready()
    return greenlet


def open_files() -> int:
    """Count the open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


USES: dict[str, Callable[[Connection], object]] = {
    "a request of ours": lambda connection: connection.sync(),
    "a request without a reply": lambda connection: connection.press(255),
    "a request of python-xlib": lambda connection: connection.display.get_atom("_NOVAKEY_NEVER_SEEN"),
    "the next event": lambda connection: connection.display.next_event(),
    "the number of events": lambda connection: connection.display.pending_events(),
    "its end": lambda connection: connection.close(),
}


@pytest.mark.parametrize("second", USES)
@pytest.mark.parametrize("first", ["a request of ours", "a request of python-xlib", "the next event"])
def test_a_second_greenlet_in_a_connection_is_an_error_that_says_so(
    server: XServer, first: str, second: str
) -> None:
    connection = Connection()
    try:
        with stopped(server):
            busy = waiting(lambda: USES[first](connection))
            with gevent.Timeout(SOON_S), pytest.raises(ConnectionMisuseError, match="another greenlet"):
                USES[second](connection)
            busy.kill()
    finally:
        connection.close()


def test_the_first_greenlet_gets_its_answer_all_the_same(server: XServer) -> None:
    connection = Connection()
    with stopped(server):
        busy = waiting(lambda: connection.property(connection.root.id, "_NOVAKEY_DELIVERY") or "no mark")
        with pytest.raises(ConnectionMisuseError):
            connection.sync()
    assert busy.get(timeout=SOON_S) == "no mark"
    connection.sync()
    connection.close()


def test_no_one_comes_in_between_the_requests_of_a_server_grab(server: XServer) -> None:
    connection = Connection()

    def use() -> str:
        with pytest.raises(ConnectionMisuseError):
            connection.sync()
        return "refused"

    with connection.grabbed():
        assert gevent.spawn(use).get(timeout=SOON_S) == "refused"
        connection.sync()
    connection.close()


@pytest.mark.parametrize("use", list(USES)[:-1])
@pytest.mark.parametrize("timeout", [False, KeyError])
@pytest.mark.parametrize("interrupted", ["a request of ours", "a request of python-xlib", "the next event"])
def test_a_connection_whose_exchange_was_interrupted_can_only_be_closed(
    server: XServer, interrupted: str, timeout: type[Exception] | bool, use: str
) -> None:
    connection = Connection()
    with stopped(server), suppress(KeyError), gevent.Timeout(0.05, timeout):
        USES[interrupted](connection)
    with gevent.Timeout(SOON_S), pytest.raises(ConnectionMisuseError, match="only be closed"):
        USES[use](connection)
    connection.close()


def test_a_connection_that_was_closed_says_so(server: XServer) -> None:
    from Xlib.error import ConnectionClosedError

    connection = Connection()
    connection.close()
    connection.close()
    for use in list(USES.values())[:-1]:
        with pytest.raises(ConnectionClosedError):
            use(connection)


def test_a_connection_handed_on_between_two_exchanges_is_no_sharing(server: XServer) -> None:
    connection = Connection()
    for _ in range(3):
        gevent.spawn(connection.sync).get(timeout=SOON_S)
        connection.sync()
    connection.close()


def test_one_that_is_given_up_while_it_is_made_leaves_nothing_open(server: XServer) -> None:
    before = open_files()
    for moment in range(400):
        making = gevent.spawn(Connection)
        gevent.sleep(moment * 0.0002)
        making.kill()
        if isinstance(made := making.get(), Connection):
            made.close()
            break
        gevent.sleep(0.001)  # gevent closes a socket that is waited for in the next turn of its loop
        assert open_files() == before, f"{moment * 0.2:.1f} ms after the beginning"
    else:
        pytest.fail("it was never made")
    with stopped(server), pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        Connection()
    gevent.sleep(0.001)
    assert open_files() == before


def test_a_clipboard_that_is_served_is_let_go_of_by_another_greenlet(server: XServer) -> None:
    owner = SelectionOwner(Secret(b"abc"))
    gevent.sleep(0)  # it is served from now on
    gevent.sleep(0)
    with pytest.raises(ConnectionMisuseError):
        owner._connection.sync()
    owner.close()
    assert owner.ended


def test_the_test_programs_display_is_guarded_too(server: XServer) -> None:
    display = GuardedDisplay(server.display)
    with stopped(server):
        waiting(display.sync)
        with gevent.Timeout(SOON_S), pytest.raises(ConnectionMisuseError):
            display.sync()


def test_a_connection_belongs_to_the_display_that_was_named_when_it_was_begun(server: XServer) -> None:
    ready = WarmConnection()
    with XServer(manager=False) as other, stopped(server):
        making = waiting(ready.make)
        with display_of(other):
            os.kill(server.process.pid, signal.SIGCONT)
            making.join(SOON_S)
            taken = ready.take()
            assert taken.place.display == other.display
            assert taken.display.get_display_name() == other.display
            taken.close()
            ready.close()


def test_one_that_leads_to_the_display_of_before_is_not_a_display_that_can_be_used(server: XServer) -> None:
    with stopped(server):
        making = waiting(WARM.make)
        with display_of(None):
            os.environ["DISPLAY"] = ":59535"
            os.kill(server.process.pid, signal.SIGCONT)
            making.join(SOON_S)
            why_not = X11Backend.unavailable()
            assert why_not is not None and "cannot be reached" in why_not.reason
            with pytest.raises(DesktopError):
                X11Backend().type_text(Secret(b"secret"), 5.0, anywhere)


def test_another_cookie_for_the_display_means_another_connection(
    server: XServer, monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    ready = WarmConnection()
    ready.make()
    first = ready.take()
    first.close()
    ready.make()
    kept = ready._connection
    monkeypatch.setenv("XAUTHORITY", os.fspath(tmp_path))
    taken = ready.take()
    assert taken is not kept
    taken.close()


def test_closing_while_one_is_being_made_leaves_none(server: XServer) -> None:
    ready = WarmConnection()
    with stopped(server):
        ready.prewarm()
        making = ready._making
        assert making is not None
        wait_until(lambda: gevent.sleep(0.01) or making.started, "the making")
        ready.close()
    making.join(SOON_S)
    assert making.dead
    assert ready._connection is None


def test_closing_disturbs_no_question_over_the_connection(server: XServer) -> None:
    ready = WarmConnection()
    ready.make()
    with stopped(server):
        making = waiting(ready.make)  # asks over the one that was ready
        assert ready._connection is None
        ready.close()
    making.join(SOON_S)
    assert making.successful()
    ready.close()


def test_a_doctor_whose_server_stops_answering_goes_on(
    server: XServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FOCUS_S", 0.1)
    with stopped(server), gevent.Timeout(SOON_S):
        assert session._clipboard_manager() is False
