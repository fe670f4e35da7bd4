"""Telling several listeners what happens, each at their own pace and in bounded memory."""

from __future__ import annotations

import queue
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

_PENDING = 512  # what a listener may lag behind; the daemon never waits for one


class Subscription(Generic[Item]):
    """One listener; a context manager. `missed` counts what came too fast for it."""

    def __init__(self, feed: Feed[Item]) -> None:
        self._feed = feed
        self._pending: queue.Queue[Item | None] = queue.Queue(_PENDING)
        self.missed = 0

    def next(self, seconds: float | None = None) -> Item | None:
        """Wait for the next item; None when the listening was ended, or after `seconds`."""
        try:
            return self._pending.get(timeout=seconds)
        except queue.Empty:
            return None

    def put(self, item: Item | None) -> None:
        """Hand over an item, or None to end the listening. Never waits."""
        if item is None and self._pending.full():
            self._pending.get_nowait()
        try:
            self._pending.put_nowait(item)
        except queue.Full:
            self.missed += 1

    def __enter__(self) -> Subscription[Item]:
        self._feed.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._feed.remove(self)


class Feed(Generic[Item]):
    """Where something is published for everybody who listens at that moment."""

    def __init__(self) -> None:
        self.listeners: list[Subscription[Item]] = []

    def listen(self) -> Subscription[Item]:
        """Return a new listener, which hears from when it is entered."""
        return Subscription(self)

    def add(self, listener: Subscription[Item]) -> None:
        """Publish to this one too."""
        self.listeners.append(listener)

    def remove(self, listener: Subscription[Item]) -> None:
        """Publish to this one no more."""
        self.listeners.remove(listener)

    def publish(self, item: Item) -> None:
        """Tell everybody; never waits for anybody."""
        for listener in tuple(self.listeners):
            listener.put(item)
