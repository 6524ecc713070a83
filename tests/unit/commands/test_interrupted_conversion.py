"""Ctrl-C at the worst moment of a conversion leaves nothing half written."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tracer.commands.convert import TraceOptions, convert
from tracer.output.files import OutputFile

CAPTURE = Path(__file__).parents[2] / "golden" / "format-1.ratcap"


def test_ctrl_c_just_when_the_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = OutputFile.__init__

    def make_and_interrupt(self: OutputFile, path: Path) -> None:
        make(self, path)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(OutputFile, "__init__", make_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(CAPTURE, tmp_path / "x.pftrace", TraceOptions(), lambda share: None)
    assert list(tmp_path.iterdir()) == []
