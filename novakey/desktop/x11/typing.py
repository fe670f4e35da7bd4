"""Typing on X11: all of a text or nothing, and the keyboard afterwards as it was before.

Under a server grab no other client is served: what has the focus, what the keys
mean and which modifiers are down stays as it was read until the last key has
gone out. A text with more characters outside the layout than there are free keys
goes out in several such steps, each of which looks again at all of this.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import gevent

from novakey.desktop import keysyms
from novakey.desktop.base import Delivery, DesktopError
from novakey.desktop.x11 import wire
from novakey.desktop.x11.connection import Connection
from novakey.desktop.x11.focus import Target, find
from novakey.desktop.x11.held_keys import HeldKeys
from novakey.desktop.x11.holder import Holder, has_menu
from novakey.desktop.x11.keymap import (
    NOTHING,
    Batch,
    Keymap,
    Layout,
    Pair,
    Stroke,
    UnreachableError,
    next_batch,
)
from novakey.desktop.x11.machines import EACH_S, PACE_S
from novakey.desktop.x11.recovery import Notes
from novakey.desktop.x11.settle import Listener
from novakey.desktop.x11.snapshot import Snapshot

FOREIGN = (
    "a window that shows another machine gets only keys that keyboards have, and this layout lacks a"
    " character on them: choose a layout that has it, here and there"
)
TOO_LONG = "the text is too long for a window that shows another machine: raise delivery_timeout_s"
BY_LAYOUT = "what the keys give is up to the layout of the other machine"
GRABBED = "another program holds the keyboard (a menu, a screen locker, a password prompt)"


class _IsHeldError(Exception):
    """The keyboard is held, and the record of its holder has not begun."""


class Typist:
    """Types once, over one connection. `sent` counts the keysyms that may have reached a window."""

    def __init__(self, connection: Connection, delivery: Delivery, notes: Notes) -> None:
        self._connection = connection
        self._notes = notes
        self._delivery = delivery
        self._remapped: dict[int, Pair] = {}  # keycode: keysyms that we put there
        self._unlocked = 0  # modifiers that are unlocked while this types
        self._target: Target | None = None
        self._holder: Holder | None = None
        self.sent = 0
        self.tapped = 0  # those that the server has been given

    def type(self, wanted: Sequence[int], until: float, modifiers: frozenset[int] = frozenset()) -> None:
        """Type canonical keysyms into the focused window, by `until` (monotonic seconds).

        A modifier key with one of the keysyms `modifiers` is held throughout.
        """
        try:
            while self.sent < len(wanted):
                before = self.sent
                target = self._next_step(wanted[before:], until, modifiers)  # of a view, which makes no copy
                if self._remapped:
                    self._wait(Listener(self._connection, target), until, typed=self.sent > before)
                elif target.is_machine:
                    self._pace(until)
        finally:
            if self._holder is not None:
                self._holder.close()
        if target.is_machine and not modifiers:
            raise DesktopError(BY_LAYOUT, self.sent)

    def _next_step(self, wanted: Sequence[int], until: float, modifiers: frozenset[int]) -> Target:
        """Do a step; where the keyboard is held, see to it that the step can tell by whom."""
        try:
            return self._step(wanted, until, modifiers)
        except _IsHeldError:
            self._holder = self._holder or Holder(self._connection)
            self._holder.listen()
        try:
            return self._step(wanted, until, modifiers)
        except _IsHeldError:  # taken and let go of between these
            raise DesktopError(GRABBED, self.sent) from None

    def _pace(self, until: float) -> None:
        """Leave the other machine the time to take a key in."""
        gevent.sleep(PACE_S)
        if time.monotonic() >= until:
            raise DesktopError("the text was not typed in time", self.sent)

    def _wait(self, listener: Listener, until: float, typed: bool) -> None:
        """Until the window has read what was typed or, where nothing was, what the keys now mean."""
        if typed:
            if not listener.has_read_keys(until):
                raise DesktopError("the window has not read all keys in time; some may be wrong", self.sent)
            keys = self._connection.keymap().keys
            if not all(keys[code].gives(pair) for code, pair in self._remapped.items()):
                raise DesktopError("the keyboard was changed in between; some keys may be wrong", self.sent)
        elif not listener.knows_map(until):
            raise DesktopError("the window does not answer", self.sent)

    def _step(self, wanted: Sequence[int], until: float, modifiers: frozenset[int]) -> Target:
        """Put symbols on keys or, once the window knows them, press the keys."""
        with self._connection.grabbed():
            snapshot = Snapshot(self._connection)
            if self._target is None and snapshot.is_marked:
                self._notes.recover(self._connection)
                snapshot = Snapshot(self._connection)
            held = HeldKeys(self._connection, snapshot)
            target = self._aim(snapshot)
            keyboard = snapshot.keymap(none_is_remapped=not self._remapped)
            with self._sticky_keys_stay_on(snapshot), self._neutral(keyboard, snapshot, held) as layout:
                if target.is_machine:
                    batch = self._plan_for_machine(wanted, until, layout)
                else:
                    batch = self._plan(wanted, layout, self._to_borrow(keyboard))
                modifier = layout.key_of(modifiers) if modifiers else None
                if modifiers and modifier is None:
                    raise DesktopError("the keyboard lacks the modifier key for the shortcut")
                keys = keyboard.keys
                new = {code: pair for code, pair in batch.borrowed.items() if not keys[code].gives(pair)}
                self._borrow(new)
                if new and target.answers_ping:
                    return target
                # From here on it is unknown how much came through, should the server hang.
                self.sent += len(batch.strokes)
                self._tap(batch.strokes, () if modifier is None else (modifier[0],))
                self.tapped = self.sent
        return target

    def _to_borrow(self, keyboard: Keymap) -> list[int]:
        """Return the keys that may get other symbols. The key that tells who holds the keyboard may not."""
        mute = self._mute_key(keyboard) if self._holder else None
        return sorted(code for code in {*self._remapped, *keyboard.free} if code != mute)

    def _plan(self, wanted: Sequence[int], layout: Layout, free: Sequence[int]) -> Batch:
        try:
            return next_batch(wanted, layout, free)
        except UnreachableError:
            problem = "the layout lacks a character and the keyboard has no free key for it"
            raise DesktopError(problem, self.sent) from None

    def _plan_for_machine(self, wanted: Sequence[int], until: float, layout: Layout) -> Batch:
        """Plan the next character, where there is time and keyboards have the keys for all of the text."""
        if not self.sent and time.monotonic() + len(wanted) * EACH_S > until:
            raise DesktopError(TOO_LONG)
        reach = layout.real
        if not all(symbol in reach for symbol in wanted):
            raise DesktopError(FOREIGN, self.sent)
        return Batch((reach[wanted[0]],), {})

    def _aim(self, snapshot: Snapshot) -> Target:
        """Return the window to type into: the same in every step."""
        self._check_holder(snapshot)
        if snapshot.quick_keys_are_rejected:
            raise DesktopError("slow keys or bounce keys are on: they swallow typed keys", self.sent)
        target = find(self._connection, snapshot)
        if snapshot.keyboard_is_held and has_menu(self._connection, target):
            raise DesktopError(GRABBED, self.sent)
        if self._target is not None and self._target.window != target.window:
            raise DesktopError("another window took the focus", self.sent)
        if not self.sent:
            # Under the grab: this is the window that the first key goes to. Again in each step before that.
            self._delivery.check_target(target.focus)
        self._target = target
        return target

    def _check_holder(self, snapshot: Snapshot) -> None:
        """Raise unless the keyboard is free, or held by the program of the focused window."""
        holder = self._holder
        if not snapshot.keyboard_is_held:
            if holder is not None and holder.listens:
                holder.end()
        elif holder is None or not holder.listens:
            raise _IsHeldError
        else:
            key = self._mute_key(snapshot.keymap(none_is_remapped=not self._remapped))
            if key is None or holder.clients(key) != {self._connection.client_of(snapshot.focus)}:
                raise DesktopError(GRABBED, self.sent)

    def _mute_key(self, keyboard: Keymap) -> int | None:
        """Return the key that is pressed to see who gets it; it is not borrowed."""
        return min((code for code in keyboard.free if code not in self._remapped), default=None)

    @contextmanager
    def _sticky_keys_stay_on(self, snapshot: Snapshot) -> Iterator[None]:
        """Inside, Shift and a letter together do not switch Sticky Keys off."""
        connection, options = self._connection, snapshot.sticky_options
        if options is None or not options & wire.TWO_KEYS:
            yield
            return
        connection.tell(wire.xkb_set_sticky_options(connection.xkb, options & ~wire.TWO_KEYS))
        try:
            yield
        except Exception:
            connection.tell(wire.xkb_set_sticky_options(connection.xkb, options))
            raise
        connection.tell(wire.xkb_set_sticky_options(connection.xkb, options))

    @contextmanager
    def _neutral(self, keyboard: Keymap, snapshot: Snapshot, held: HeldKeys) -> Iterator[Layout]:
        """Inside, no key is down and only Num Lock is locked; afterwards all is as it was."""
        connection, latched = self._connection, snapshot.state.latched
        num_lock = keyboard.bits_of(keysyms.NUM_LOCK)
        if held.are_none and snapshot.state.only_locked:
            state = snapshot.state
        else:
            # Also modifiers that are up: one that is stuck on our device could not be pressed.
            held.release(also=set(keyboard.modifiers))
            # Only now: a Caps Lock that is just being pressed unlocks, or not, when it comes up.
            state = connection.keyboard_state()
        locked = state.locked & ~num_lock
        layout = Layout(keyboard, state.group, state.locked & num_lock, without=self._remapped)
        self._notes.put(connection, locked, self._remapped)
        self._unlocked = locked
        if locked or latched:
            connection.set_locks(locked, 0, 0)
        try:
            if locked or latched:
                state = connection.keyboard_state()
            if state.modifiers & ~num_lock:
                raise DesktopError("a modifier key could not be released", self.sent)
            yield layout
        except Exception:
            self._as_before(held, layout, locked, latched)
            raise
        # After a timeout the connection is of no more use; then the mark says what to put right.
        self._as_before(held, layout, locked, latched)

    def _as_before(self, held: HeldKeys, layout: Layout, locked: int, latched: int) -> None:
        held.press_again(lambda code: layout.symbol(code) in keysyms.HELD_MODIFIERS)
        if locked or latched:
            self._connection.set_locks(locked, locked, latched)
        self._unlocked = 0
        if self._remapped:
            self._notes.put(self._connection, 0, self._remapped)
        else:
            self._notes.take_off(self._connection)

    def _borrow(self, wanted: dict[int, Pair]) -> None:
        if not wanted:
            return
        self._notes.put(self._connection, self._unlocked, self._remapped, wanted)
        self._remapped |= wanted
        self._connection.put_on_keys(wanted)

    def _tap(self, strokes: Sequence[Stroke], modifiers: tuple[int, ...]) -> None:
        self._connection.tap(lambda: _keys(strokes, modifiers))

    def give_back(self) -> None:
        """Free the borrowed keys, except those that another program has changed since."""
        if not self._remapped:
            return
        with self._connection.grabbed():
            keys = self._connection.keymap().keys
            ours = [code for code, pair in self._remapped.items() if keys[code].gives(pair)]
            self._connection.put_on_keys(dict.fromkeys(ours, NOTHING))
            self._notes.take_off(self._connection)
        self._remapped.clear()


def _keys(strokes: Sequence[Stroke], modifiers: tuple[int, ...]) -> Iterator[tuple[int, bool]]:
    """Each key that goes down (true) or up, the modifiers with them."""
    holding: tuple[int, ...] = ()
    for stroke in strokes:
        wanted = (*modifiers, *stroke.holding)
        if wanted != holding:
            yield from ((code, False) for code in reversed(holding))
            yield from ((code, True) for code in wanted)
            holding = wanted
        yield stroke.keycode, True
        yield stroke.keycode, False
    yield from ((code, False) for code in reversed(holding))
