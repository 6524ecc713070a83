"""Where the output of a recording, or of samples, goes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from tracer.errors import OutputFailed
from tracer.ownership import is_no_plain_file


def output_path(asked: Path | None, suffix: str, process: str, pid: int) -> Path:
    """asked: what the user named; None: a file here, named after the process and the time.

    Raises OutputFailed, before anything is attached or read, where that cannot be written.
    """
    if asked is not None:
        path = asked
    else:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in process)
        path = Path(f"rat-{name}-{pid}-{stamp}{suffix}")
    try:
        if path.is_dir():
            raise OutputFailed(f"{path} is a folder", fix=f"rat-ebpf … -o {path / ('trace' + suffix)}")
        if is_no_plain_file(path):
            raise OutputFailed(f"{path} is a device, pipe or socket, no file", fix=f"rat-ebpf … -o trace{suffix}")
        if not path.parent.is_dir():
            raise OutputFailed(f"there is no folder {path.parent}", fix=f"mkdir -p {path.parent}")
    except PermissionError:
        raise OutputFailed(
            f"{path} cannot be written", why="you may not enter its folder", fix=f"rat-ebpf … -o FOLDER/{path.name}"
        ) from None
    except OSError as error:
        why = f"{error.strerror}."
        raise OutputFailed(f"{path} cannot be written", why=why, fix=f"rat-ebpf … -o trace{suffix}") from None
    return path
