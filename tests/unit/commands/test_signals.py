"""An interruption stays one, whatever it meets."""

from __future__ import annotations

import signal

import pytest

from tracer.commands.signals import interruptible, stop_signal


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


@pytest.mark.parametrize(("before", "is_told"), [(signal.SIG_IGN, False), (signal.SIG_DFL, True)], ids=["nohup", "not"])
def test_whoever_is_to_outlive_the_terminal_does(before: signal.Handlers, is_told: bool) -> None:
    at_first = signal.signal(signal.SIGHUP, before)
    try:
        with stop_signal() as stop:
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, at_first)
    assert (stop.name == "SIGHUP") == is_told


def test_nobody_who_ignores_ctrl_c_is_interrupted_by_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
