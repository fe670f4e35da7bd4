"""What became of the last messages, and what each device did: kept for the owner, without contents."""

from __future__ import annotations

import itertools
from collections import deque
from heapq import merge
from operator import itemgetter

import gevent

from novakey.devices.activity import Activity
from novakey.messages.handler import MessageResult
from novakey.wire.message import MessageType
from novakey.wire.reply import Outcome, stage

KEPT = 10
# A stranger who knocks all day must not push out what the owner's own phones did.
KEPT_OF_STRANGERS = 3
# The figures may be this old after a crash; while nothing comes in, nothing is written.
WRITE_S = 300

_INJECT = stage(MessageType.INJECT)
_NOT_ACCEPTED = frozenset({Outcome.BAD_TIMESTAMP, Outcome.REPLAY, Outcome.RATE_LIMIT})


class MessageHistory:
    """Hears of every answer (`Handler.on_answer`)."""

    def __init__(self, activity: Activity) -> None:
        self.activity = activity
        self._order = itertools.count()
        self._known: deque[tuple[int, MessageResult]] = deque(maxlen=KEPT)
        self._strangers: deque[tuple[int, MessageResult]] = deque(maxlen=KEPT_OF_STRANGERS)
        self._writing: gevent.Greenlet | None = None

    def note(self, answered: MessageResult) -> None:
        """Take down one answer."""
        if answered.device_id is None:
            self._strangers.append((next(self._order), answered))
            return
        self._known.append((next(self._order), answered))
        if answered.outcome in _NOT_ACCEPTED:
            return
        delivered = answered.stage == _INJECT and answered.outcome.success
        self.activity.count(answered.device_id, answered.at, delivered)
        if self._writing is None:
            self._writing = gevent.spawn_later(WRITE_S, self._write)

    def last(self) -> list[MessageResult]:
        """Return the last answers, the oldest first."""
        return [answered for _, answered in merge(self._known, self._strangers, key=itemgetter(0))]

    def close(self) -> None:
        """Write down what is not written yet."""
        if self._writing is not None:
            self._writing.kill()
        self.activity.save()

    def _write(self) -> None:
        self._writing = None
        self.activity.save()
