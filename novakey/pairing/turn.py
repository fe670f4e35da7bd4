"""Events in turn: one waits until the one before it is saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from gevent.lock import RLock


class HasTurn(Protocol):
    """An object whose events come one after the other."""

    turn: RLock


Machine = TypeVar("Machine", bound=HasTurn)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def in_turn(
    event: Callable[Concatenate[Machine, Arguments], Result],
) -> Callable[Concatenate[Machine, Arguments], Result]:
    """Hold the object's turn during a method."""

    @wraps(event)
    def waiting(machine: Machine, /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        with machine.turn:
            return event(machine, *arguments, **named)

    return waiting
