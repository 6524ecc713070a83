"""Where separate debug information is found, for one small Rust program split by objcopy."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tracer.target.debugfile import SplitFiles, find_debug_file
from tracer.target.elf import ElfImage, open_elf
from tracer.target.inside import resolve_inside


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `whole`, `whole.debug` and `stripped`, which links to the latter by name and CRC."""
    folder = tmp_path_factory.mktemp("split")
    (folder / "main.rs").write_text("fn main() { std::io::stdin().read_line(&mut String::new()).unwrap(); }")

    def run(*command: str) -> None:
        subprocess.run(command, cwd=folder, check=True, timeout=60)

    run("rustc", "-g", "-Clink-arg=-Wl,--build-id=sha1", "-o", "whole", "main.rs")
    run("objcopy", "--only-keep-debug", "whole", "whole.debug")
    run("objcopy", "--strip-all", "--add-gnu-debuglink=whole.debug", "whole", "stripped")
    return folder


@pytest.fixture
def root(tmp_path: Path, split: Path) -> Path:
    """The root folder of a container that has the stripped program in /srv/app."""
    (tmp_path / "srv/app").mkdir(parents=True)
    shutil.copy(split / "stripped", tmp_path / "srv/app/stripped")
    return tmp_path


@pytest.fixture
def image(root: Path) -> Iterator[ElfImage]:
    with open_elf(root / "srv/app/stripped") as image:
        yield image


def put(split: Path, place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(split / "whole.debug", place)
    return place


def test_nothing_there(image: ElfImage, root: Path) -> None:
    assert find_debug_file(image, root) is None
    assert find_debug_file(image, None) is None
    assert SplitFiles(image, root).package() is None


@pytest.mark.parametrize(
    "place", ["srv/app/whole.debug", "srv/app/.debug/whole.debug", "usr/lib/debug/srv/app/whole.debug"]
)
def test_by_its_link(image: ElfImage, root: Path, split: Path, place: str) -> None:
    expected = put(split, root / place)
    assert find_debug_file(image, root) == expected
    with open_elf(expected) as debug:
        assert debug.build_id == image.build_id
        assert debug.has_section(".debug_info")


def test_by_its_link_beside_a_file_of_this_machine(image: ElfImage, root: Path, split: Path) -> None:
    expected = put(split, root / "srv/app/whole.debug")
    assert find_debug_file(image, None) == expected


def test_a_file_of_that_name_with_other_content(image: ElfImage, root: Path, split: Path) -> None:
    wrong = put(split, root / "srv/app/whole.debug")
    wrong.write_bytes(wrong.read_bytes() + b"\0")
    assert find_debug_file(image, root) is None
    right = put(split, root / "srv/app/.debug/whole.debug")
    assert find_debug_file(image, root) == right


def test_by_build_id_first(image: ElfImage, root: Path, split: Path) -> None:
    put(split, root / "srv/app/whole.debug")
    assert image.build_id is not None
    name = f"usr/lib/debug/.build-id/{image.build_id[:2]}/{image.build_id[2:]}.debug"
    expected = put(split, root / name)
    assert find_debug_file(image, root) == expected


def test_of_a_live_process_whose_file_is_gone(split: Path, tmp_path: Path) -> None:
    """The link of /proc/PID/exe says where it was; its debug file may still be there."""
    program = tmp_path / "stripped"
    shutil.copy(split / "stripped", program)
    put(split, tmp_path / "whole.debug")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        try:
            program.unlink()
            process_root = Path(f"/proc/{process.pid}/root")
            with open_elf(Path(f"/proc/{process.pid}/exe")) as image:
                found = find_debug_file(image, process_root)
            assert found == process_root / (tmp_path / "whole.debug").relative_to("/")
        finally:
            process.kill()


def test_a_package_is_beside_the_binary(image: ElfImage, root: Path) -> None:
    places = SplitFiles(image, root)
    assert places.package() is None
    package = root / "srv/app/stripped.dwp"
    package.touch()
    assert places.package() == package


def test_an_object_file_is_where_it_was_compiled_else_beside_the_binary(image: ElfImage, root: Path) -> None:
    places = SplitFiles(image, root)
    assert places.object_file("/build", "out/one.dwo") is None
    moved = root / "srv/app/deps/one.dwo"
    moved.parent.mkdir()
    moved.touch()
    assert places.object_file("/build", "out/one.dwo") == moved
    assert places.object_file("", "one.dwo") == moved
    compiled = root / "build/out/one.dwo"
    compiled.parent.mkdir(parents=True)
    compiled.touch()
    assert places.object_file("/build", "out/one.dwo") == compiled
    assert places.object_file("/elsewhere", "/build/out/one.dwo") == compiled


def test_links_stay_inside_the_root(root: Path, split: Path, image: ElfImage) -> None:
    outside = put(split, root.parent / "outside" / "whole.debug")
    link = root / "srv/app/whole.debug"
    link.symlink_to(outside)
    assert link.exists()
    assert find_debug_file(image, root) is None
    inside = put(split, root / outside.relative_to("/"))
    assert find_debug_file(image, root) == inside


@pytest.mark.parametrize("target", ["/real/file", "../real/file", "../../../../../real/file", "../again/../real/file"])
def test_links_are_read_as_in_the_root(tmp_path: Path, target: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").touch()
    (tmp_path / "again").symlink_to("/real")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/link").symlink_to(target)
    assert resolve_inside(tmp_path, PurePosixPath("/a/link")) == tmp_path / "real/file"


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "loop", "folder", "missing", "fifo/below"):
        assert resolve_inside(tmp_path, PurePosixPath("/") / name) is None


@pytest.mark.parametrize("name", ["../../outside/whole.debug", "..", ".", "/outside/whole.debug", "\0", "a\nb"])
def test_a_hostile_link_name_leads_nowhere(root: Path, split: Path, image: ElfImage, name: str) -> None:
    put(split, root.parent / "outside" / "whole.debug")
    put(split, root / "outside" / "whole.debug")
    image.debuglink = lambda: (name, 0)  # type: ignore[method-assign]
    assert find_debug_file(image, root) is None


def test_paths_of_a_container_are_none_of_this_machine(
    image: ElfImage, root: Path, split: Path, tmp_path: Path
) -> None:
    """A hostile DW_AT_comp_dir or debug link names a file of the host: it is not looked at."""
    secret = tmp_path.parent / "host" / "secret.dwo"
    put(split, secret)
    places = SplitFiles(image, root)
    assert places.object_file(str(secret.parent), secret.name) is None
    assert places.object_file("/a/" + "../" * 30 + str(secret.parent)[1:], secret.name) is None
    assert places.object_file("/", "../../../.." + str(secret)) is None
    assert SplitFiles(image, None).object_file(str(secret.parent), secret.name) == secret
