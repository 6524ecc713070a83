"""The folder for files that are needed for a moment."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tracer.errors import OutputFailed


def temporary_folder() -> Path:
    """Where Python has it.  Raises OutputFailed: none can be written, as in a container that is only read."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise OutputFailed(
            "There is no folder for temporary files",
            why="neither TMPDIR nor /tmp or /var/tmp is one that can be written",
            fix="TMPDIR=/a/folder rat-ebpf …    # one that can be written",
        ) from error
