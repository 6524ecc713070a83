"""Kernel headers are found, or put together out of a distribution's two packages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracer.errors import MissingDependency
from tracer.probe.headers import kernel_headers, kernel_source


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def debian(installed: Path, version: str) -> None:
    common, flavour = installed / f"linux-headers-{version}-common", installed / f"linux-headers-{version}-amd64"
    touch(common / "include/linux/kconfig.h", version)
    touch(common / "arch/x86/include/asm/ptrace.h")
    touch(flavour / "include/generated/autoconf.h", version)
    touch(flavour / "arch/x86/include/generated/asm/bug.h")


def ubuntu(installed: Path, version: str) -> None:
    common, flavour = installed / f"linux-headers-{version}", installed / f"linux-headers-{version}-generic"
    touch(common / "include/linux/kconfig.h", version)
    touch(common / "arch/x86/include/asm/ptrace.h")
    touch(flavour / "include/generated/autoconf.h", version)
    (flavour / "include/linux").symlink_to(common / "include/linux")


def test_the_running_kernels_own_are_preferred(tmp_path: Path) -> None:
    touch(tmp_path / "modules" / os.uname().release / "build/include/linux/kconfig.h")
    debian(tmp_path / "src", "6.1.0-9")
    assert kernel_source(tmp_path / "cache", modules=tmp_path / "modules", installed=tmp_path / "src") is None
    assert not (tmp_path / "cache").exists()


def test_debians_two_packages_are_merged_the_newest_first(tmp_path: Path) -> None:
    debian(tmp_path / "src", "6.1.0-9")
    debian(tmp_path / "src", "6.1.0-56")
    for _ in range(2):  # made once, then found
        tree = kernel_source(tmp_path / "cache", modules=tmp_path / "modules", installed=tmp_path / "src")
        assert tree is not None
        assert (tree / "include/linux/kconfig.h").read_text() == "6.1.0-56"
        assert (tree / "include/generated/autoconf.h").read_text() == "6.1.0-56"
        assert (tree / "arch/x86/include/asm/ptrace.h").is_file()
        assert (tree / "arch/x86/include/generated/asm/bug.h").is_file()
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_ubuntus_flavour_holds_links_already(tmp_path: Path) -> None:
    ubuntu(tmp_path / "src", "6.8.0-31")
    tree = kernel_source(tmp_path / "cache", modules=tmp_path / "modules", installed=tmp_path / "src")
    assert tree == tmp_path / "src/linux-headers-6.8.0-31-generic"


def test_half_a_package_is_not_enough(tmp_path: Path) -> None:
    touch(tmp_path / "src/linux-headers-6.1.0-9-amd64/include/generated/autoconf.h")
    with pytest.raises(MissingDependency) as caught:
        kernel_source(tmp_path / "cache", modules=tmp_path / "modules", installed=tmp_path / "src")
    assert "apt-get install" in caught.value.fix


def test_a_tree_that_others_can_write_is_made_anew(tmp_path: Path) -> None:
    debian(tmp_path / "src", "6.1.0-9")
    tree = kernel_source(tmp_path / "cache", modules=tmp_path / "modules", installed=tmp_path / "src")
    assert tree is not None
    tree.chmod(0o777)
    touch(tree / "include/planted.h")
    again = kernel_source(tmp_path / "cache", modules=tmp_path / "modules", installed=tmp_path / "src")
    assert again == tree
    assert not (tree / "include/planted.h").exists()


def test_where_the_cache_cannot_be_written_the_folder_passes(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    with kernel_headers(no_folder / "cache") as found:
        if found is None or not found.name.endswith("-merged"):
            return  # this machine's headers need no folder of links
        assert (found / "include" / "linux" / "kconfig.h").is_file()
    assert not found.exists()
