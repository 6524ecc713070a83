"""An interruption stays one, whatever it meets."""

from __future__ import annotations

import signal

import pytest

from tracer.commands.signals import interruptible


def as_numpy_does(number: signal.Signals) -> None:
    """What comes while C code calls Python leaves it as another error."""
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt:
        raise TypeError("cannot compare") from None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_became_another_error_is_one(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        as_numpy_does(number)


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(TypeError), interruptible():
        raise TypeError("a bug")


def test_nobody_who_ignores_ctrl_c_is_interrupted_by_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
