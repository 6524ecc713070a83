"""What a process names is opened inside its root folder, with real links in a real chroot and namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pytest

from tracer.errors import NotTraceable
from tracer.target import inside
from tracer.target.elf import map_elf
from tracer.target.inside import open_file, resolve_inside

SECRET = b"\x7fELF of the host"
INSIDE = b"\x7fELF of the container"


@contextmanager
def chrooted(folder: Path) -> Iterator[Path]:
    """/proc/PID/root of a process in a chroot."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chroot(folder)
            os.chdir("/")
            os.write(told, b"r")
            signal.pause()
        finally:
            os._exit(0)
    try:
        assert os.read(ready, 1) == b"r"
        yield Path(f"/proc/{child}/root")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(told)


@contextmanager
def in_a_mount_namespace(folder: Path) -> Iterator[Path]:
    """/proc/PID/root of a process that has a file system of its own on `folder`, with the container's files."""
    script = (
        f'mount -t tmpfs none "{folder}" && mkdir "{folder}/a" && printf "{INSIDE.decode()}" > "{folder}/a/file" && '
    )
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", script + "echo ready && exec sleep 60"], stdout=-1)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield Path(f"/proc/{process.pid}/root")
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def container(tmp_path: Path) -> Path:
    folder = tmp_path / "container"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "file").write_bytes(INSIDE)
    return folder


def content(path: Path) -> bytes:
    with os.fdopen(open_file(path), "rb") as file:
        return file.read()


@pytest.mark.parametrize("way", ["absolute", "up", "through a process", "a folder"])
def test_no_link_leads_out_of_a_chroot(container: Path, outside: Path, way: str) -> None:
    target = {
        "absolute": str(outside),
        "up": "../" * 40 + str(outside)[1:],
        "through a process": f"/proc/{os.getpid()}/root{outside}",
        "a folder": str(outside),
    }[way]
    if way == "a folder":
        (container / "a" / "link").symlink_to(outside.parent)
        name = PurePosixPath("/a/link/secret")
    else:
        (container / "a" / "link").symlink_to(target)
        name = PurePosixPath("/a/link")
    with chrooted(container) as root:
        assert (container / name.relative_to("/")).read_bytes() == SECRET, "the link is real"
        assert resolve_inside(root, name) is None
        with pytest.raises(OSError, match=r"."):
            open_file(root / name.relative_to("/"))
        assert content(root / "a" / "file") == INSIDE
        assert resolve_inside(root, PurePosixPath("/../../a/../a/file")) == root / "a" / "file"


@pytest.mark.parametrize("part", ["a", "a/file"])
def test_neither_does_one_that_is_planted_after_the_look(container: Path, outside: Path, part: str) -> None:
    with chrooted(container) as root:
        found = resolve_inside(root, PurePosixPath("/a/file"))
        assert found is not None
        (container / part).rename(container / "moved")
        (container / part).symlink_to(outside if part == "a/file" else outside.parent)
        (outside.parent / "file").write_bytes(SECRET)
        assert found.exists(), "the path by itself would lead out"
        with pytest.raises(OSError, match=r"."):
            open_file(found)
        with pytest.raises(NotTraceable):
            map_elf(found)


def test_a_mount_namespace_is_looked_into(tmp_path: Path, container: Path) -> None:
    (container / "a" / "file").write_bytes(SECRET)
    with in_a_mount_namespace(container) as root:
        name = (container / "a" / "file").relative_to("/")
        assert resolve_inside(root, PurePosixPath("/") / name) == root / name
        assert content(root / name) == INSIDE
        assert content(container / "a" / "file") == SECRET


def test_a_loop_of_links_ends(container: Path) -> None:
    (container / "one").symlink_to("two")
    (container / "two").symlink_to("one")
    deep = container / "deep"
    deep.symlink_to("/" + "a/../" * 700 + "deep")
    with chrooted(container) as root:
        began = time.process_time()
        for name in ("one", "deep"):
            assert resolve_inside(root, PurePosixPath("/") / name) is None
            with pytest.raises(OSError, match=r"."):
                open_file(root / name)
        assert time.process_time() - began < 1


def test_what_is_no_file_is_refused_at_once(container: Path) -> None:
    os.mkfifo(container / "fifo")
    with chrooted(container) as root:
        for path in (container / "fifo", root / "fifo", container / "a", root / "a"):
            with pytest.raises(OSError, match=r"."):
                open_file(path)


def test_a_file_that_claims_to_be_endless(container: Path) -> None:
    path = container / "sparse"
    path.write_bytes(b"\x7fELF")
    os.truncate(path, inside.MAX_FILE + 1)
    with pytest.raises(OSError, match="too large"):
        open_file(path)
    with pytest.raises(NotTraceable):
        map_elf(path)
