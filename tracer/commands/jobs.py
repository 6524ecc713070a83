"""Work that a process of its own does meanwhile: it can be slow, or be ended for want of memory, alone."""

from __future__ import annotations

import contextlib
import json
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tracer.children import fork


@dataclass(slots=True)
class Job:
    """Something that a process of its own does.  answer: from where its result comes; then: what to do with that."""

    pid: int
    answer: int
    then: Callable[[Any], None]
    said: bytearray = field(default_factory=bytearray)


def start_job(what: Callable[[], Any], then: Callable[[Any], None]) -> Job:
    """Do something in a process of its own, which tells what it yields."""
    answer, to_us = os.pipe()
    pid = fork()
    if pid:
        os.close(to_us)
        os.set_blocking(answer, False)
        return Job(pid, answer, then)
    code = 1
    try:
        os.close(answer)
        data = json.dumps(what()).encode()
        with os.fdopen(to_us, "wb") as file:
            file.write(data)
        code = 0
    except BrokenPipeError:
        pass
    except BaseException:  # noqa: BLE001 - it must not go on as a second watcher
        traceback.print_exc()
    finally:
        os._exit(code)


def look_after(job: Job) -> None:
    """Take what it has told; when it is over, go on with that."""
    with contextlib.suppress(BlockingIOError):
        while part := os.read(job.answer, 1 << 16):
            job.said += part
    pid, status = os.waitpid(job.pid, os.WNOHANG)
    if not pid:
        return
    with contextlib.suppress(BlockingIOError):
        while part := os.read(job.answer, 1 << 16):
            job.said += part
    os.close(job.answer)
    job.then(json.loads(job.said) if status == 0 else None)
