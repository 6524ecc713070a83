"""What a coroutine awaits in each of its states, by the code alone.

Where the code goes on in a state of waiting, it polls what it awaits.  When that has a function of its own, and
nothing branches before its call, the callee's name is the awaitee's.  What was inlined, or is called through a
pointer, stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterable

from tracer.model import FIRST_SUSPEND, AwaitPoint, PollFunction
from tracer.rust.dispatch import Dispatch, Dispatches

_MAX_PATH = 64
"""Instructions from where the code goes on up to the call."""


class CodeAwaitees:
    """functions: all poll functions of the image."""

    def __init__(self, dispatches: Dispatches, functions: Iterable[PollFunction]) -> None:
        self._dispatches = dispatches
        self._functions = {function.address: function for function in functions}

    def of(self, dispatch: Dispatch) -> tuple[AwaitPoint, ...]:
        """The states in which the code goes on somewhere, with what is awaited there where the code decides it."""
        return tuple(
            AwaitPoint(state, None, self._awaitee(target))
            for state, target in sorted(dispatch.targets.items())
            if state >= FIRST_SUSPEND
        )

    def _awaitee(self, target: int) -> str | None:
        path = list(self._dispatches.path(target, _MAX_PATH))
        callee = self._dispatches.callee(path[-1]) if path else None
        function = self._functions.get(callee) if callee is not None else None
        # Of functions that were merged nobody knows which one is meant.
        return function.name if function is not None and len(function.names) == 1 else None
