"""Which target is tested in which build: the table, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """A way to build: a profile of tests/targets/Cargo.toml, with more flags for rustc where `flags` is not empty.

    old: by the distribution's rustc (Debian 12: 1.63), with runtimes as old, in tests/targets_old.  triple: where cargo
    is to be told for what it builds, as it must where the flags are not for what runs while it builds.
    """

    cargo: str
    flags: str = ""
    old: bool = False
    triple: str = ""

    @property
    def folder(self) -> str:
        """cargo's name for the profile's output folder."""
        return f"{self.triple}/{'debug' if self.cargo == 'dev' else self.cargo}".lstrip("/")


PROFILES = {
    "dev": Profile("dev"),
    "dev-lines": Profile("dev-lines"),
    "release": Profile("release"),
    "release-debug": Profile("release-debug"),
    "release-lines": Profile("release-lines"),
    "fat-lto": Profile("fat-lto"),
    "abort": Profile("abort"),
    "size": Profile("size"),
    "stripped": Profile("stripped"),
    "dwarf5": Profile("release-debug", "-Cdwarf-version=5"),
    "packed": Profile("release-debug", "-Csplit-debuginfo=packed"),
    "packed5": Profile("release-debug", "-Csplit-debuginfo=packed -Cdwarf-version=5"),
    "unpacked": Profile("release-debug", "-Csplit-debuginfo=unpacked"),
    "unpacked5": Profile("release-debug", "-Csplit-debuginfo=unpacked -Cdwarf-version=5"),
    "bfd": Profile("release-debug", "-Clink-arg=-fuse-ld=bfd"),
    "relr": Profile("release", "-Clink-arg=-Wl,-z,pack-relative-relocs"),
    "static": Profile("release-debug", "-Ctarget-feature=+crt-static", triple="x86_64-unknown-linux-gnu"),
    "v0": Profile("release-debug", "-Csymbol-mangling-version=v0"),
    "old-dev": Profile("dev", old=True),
    "old-release-debug": Profile("release-debug", old=True),
    "old-release": Profile("release", old=True),
}

CONSTRUCTS = ("constructs_tokio", "constructs_async_std", "constructs_smol")
"""Those that go through every construct; what is compared with their logs says tests/constructs.py."""

WOKEN = ("wakes_tokio", "wakes_smol")
"""Those that keep a log of the wakes of their tasks."""

BLOCKING = ("jobs_tokio", "jobs_smol", "jobs_async_std")
"""Those that keep a log of their blocking jobs."""

SCHEDULED = ("schedules_tokio", "schedules_smol")
"""Those that keep a log of what their threads did in polls."""

TROUBLED = ("trouble", "trouble_smol")
"""Those that have a fault each for findings."""

ENDURING = ("endure",)
"""What the faults are tried on; it awaits in no other ways than the rest."""

TARGETS = (
    "tokio_multi",
    "tokio_current",
    "async_std_log",
    "smol_log",
    "async_std_sample",
    "async_std_sample_waiting",
    "panics",
    "catches",
    "returns",
    "paced",
    "cut_short",
    "deep",
    "spin",
    "life",
    *ENDURING,
    "short_tasks",
    "server",
    "load",
    "linked_tokio",
    "parked_tokio",
    "parked_async_std",
    "parked_smol",
    "linked_smol",
    "many_tasks",
    "blockers_tokio",
    *TROUBLED,
    *CONSTRUCTS,
    *WOKEN,
    *BLOCKING,
    *SCHEDULED,
)
"""The programs of tests/targets."""

OLD = ("tokio_multi", "tokio_current", "smol_log")
"""Those of them that tests/targets_old builds."""

LOGGING = ("tokio_multi", "tokio_current", "async_std_log", "smol_log", "deep", "panics", "returns")
"""Those that keep a log of their polls."""

PAIRWISE = {
    "dev": tuple(name for name in TARGETS if name not in ENDURING),
    "release": tuple(name for name in TARGETS if name not in TROUBLED),
    "release-debug": tuple(name for name in TARGETS if name not in (*WOKEN, *BLOCKING, *SCHEDULED, *ENDURING)),
    "dev-lines": ("tokio_multi",),
    "release-lines": ("tokio_multi", "smol_log"),
    "fat-lto": ("tokio_multi", "async_std_log", "parked_tokio", "catches"),
    "abort": ("tokio_multi", "tokio_current", "parked_tokio"),
    "size": ("jobs_tokio",),
    "stripped": ("tokio_current", "smol_log"),
    "dwarf5": ("tokio_multi", "parked_tokio"),
    "packed": ("tokio_multi",),
    "packed5": ("smol_log",),
    "unpacked": ("smol_log",),
    "unpacked5": ("tokio_multi",),
    "bfd": ("tokio_multi",),
    "relr": ("tokio_multi",),
    "static": ("tokio_multi", "blockers_tokio"),
    "v0": ("tokio_current", "smol_log", "parked_tokio"),
    "old-dev": OLD,
    "old-release-debug": OLD,
    "old-release": ("tokio_multi",),
}
"""What is tested unless every cell is asked for: debug and release of all, a few of each rarer profile."""

LINED = (
    "tokio_multi",
    "async_std_log",
    "smol_log",
    "panics",
    "catches",
    "cut_short",
    "server",
    "parked_tokio",
    "blockers_tokio",
    *CONSTRUCTS,
)
"""Whose lines are compared with their types.  Those left out await in no other ways."""

NEVER = {("panics", "abort")}
"""A panic ends an abort build: there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Cell:
    target: str
    profile: str

    def __str__(self) -> str:
        return f"{self.target}-{self.profile}"


def cells(every: bool) -> list[Cell]:
    """The cells of the table: all of them, or the pairwise subset."""
    table = {name: OLD if profile.old else TARGETS for name, profile in PROFILES.items()} if every else PAIRWISE
    return [
        Cell(target, profile)
        for profile, targets in table.items()
        for target in targets
        if (target, profile) not in NEVER
    ]


LINES = [Cell(target, profile) for profile in ("release-lines", "dev-lines") for target in LINED]
"""What is built for that, beside the cells of the table."""
