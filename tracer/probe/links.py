"""Attaching a plan's probes to processes, in groups that come and go together.

By uprobe_multi links where the kernel has them: one call attaches thousands of places, closing
the link detaches them, and a dead tracer leaves nothing behind.  Else by BCC, one perf event a
place, which is slow to detach (0.1 s each) and limited to a thousand places.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tracer.errors import AttachFailed, NoSuchProcess, PermissionMissing, RatError
from tracer.model import Group, Probe, Process, Site
from tracer.probe.bcc_compiler import attach_uprobe, detach_uprobe, missing_capabilities
from tracer.probe.kernel import link_uprobe_multi
from tracer.probe.scheduling import Tracepoints

BCC_LIMIT = 1_000
_ENOTSUPP = 524  # the kernel's own, what it says of an instruction that it does not probe
_REFUSED = (_ENOTSUPP, errno.EINVAL, errno.EIO, errno.EILSEQ)


class Attachment(Protocol):
    def attach(self, process: Process, probes: Sequence[Probe], *, is_return: bool) -> list[int]:
        """All of the probes or none; returns what detach() takes.  Raises OSError."""
        ...

    def detach(self, links: Iterable[int]) -> None: ...


@dataclass(frozen=True, slots=True)
class MultiAttachment:
    """uprobe_multi links.  filters_process: the kernel's pid filter can be trusted with threads."""

    at_instruction: int
    at_return: int
    executables: Sequence[Path]
    filters_process: bool

    def attach(self, process: Process, probes: Sequence[Probe], *, is_return: bool) -> list[int]:
        link = link_uprobe_multi(
            self.at_return if is_return else self.at_instruction,
            str(self.executables[process.binary]),
            [probe.offset for probe in probes],
            [probe.id for probe in probes],
            is_return=is_return,
            pid=process.pid if self.filters_process else 0,
        )
        return [link]

    def detach(self, links: Iterable[int]) -> None:
        for link in links:
            os.close(link)


@dataclass(frozen=True, slots=True)
class BccAttachment:
    """One perf event a probe, without a cookie: the program finds the probe by its address."""

    at_instruction: int
    at_return: int
    executables: Sequence[Path]

    def attach(self, process: Process, probes: Sequence[Probe], *, is_return: bool) -> list[int]:
        path = str(self.executables[process.binary])
        links: list[int] = []
        try:
            for probe in probes:
                name = f"rat_{os.getpid()}_{process.pid}_{probe.id}"
                program = self.at_return if is_return else self.at_instruction
                links.append(attach_uprobe(program, name, path, probe.offset, process.pid, is_return=is_return))
        except OSError:
            self.detach(links)
            raise
        return links

    def detach(self, links: Iterable[int]) -> None:
        for link in links:
            detach_uprobe(link)


class Refused(Exception):
    """The kernel would not probe these.  Nothing of what was asked for is attached."""

    def __init__(self, probes: dict[int, str]) -> None:
        super().__init__(probes)
        self.probes = probes


class Links:
    """What is attached, by group.

    Exits come before entries.  Detaching takes the kernel some 50 ms a link: whoever needs a sharp
    end stops the group's events first (PollProgram.end_epoch).

    tracepoints: what Group.SCHEDULING is; without, that is never attached.
    """

    def __init__(
        self,
        attachment: Attachment,
        processes: Sequence[Process],
        probes: Sequence[Probe],
        tracepoints: Tracepoints | None = None,
    ) -> None:
        self._attachment = attachment
        self._tracepoints = tracepoints
        self._processes = tuple(processes)
        self._probes = tuple(probes)
        self._links: dict[Group, list[int]] = {}

    @property
    def active(self) -> frozenset[Group]:
        return frozenset(self._links)

    def attach(
        self,
        groups: Iterable[Group],
        *,
        skips_ended: bool = False,
    ) -> None:
        """Attach what is not attached yet.

        skips_ended: a process that has ended is passed over, else it raises NoSuchProcess.
        Raises Refused (then no group asked for is attached), NoSuchProcess, PermissionMissing or
        AttachFailed.
        """
        added = [group for group in groups if group not in self._links]
        if self._tracepoints is None and Group.SCHEDULING in added:
            added.remove(Group.SCHEDULING)
        for group in added:
            self._links[group] = []
        try:
            for group in added:
                if group is Group.SCHEDULING:
                    self._attach_tracepoints()
                    continue
                for sites in ((Site.RETURN,), (Site.EXIT, Site.END, Site.SPAWN, Site.SPAWNED, Site.WAKE, Site.ENTRY)):
                    for process in self._processes:
                        try:
                            self._attach_sites(group, sites, process)
                        except NoSuchProcess:
                            if not skips_ended:
                                raise
        except BaseException:
            self.detach(added)
            raise

    def _attach_tracepoints(self) -> None:
        assert self._tracepoints is not None
        try:
            self._links[Group.SCHEDULING] = self._tracepoints.attach()
        except OSError as error:
            raise AttachFailed("The kernel refused its tracepoints.", why=str(error), fix="rat-ebpf doctor") from error

    def _attach_sites(self, group: Group, sites: Sequence[Site], process: Process) -> None:
        """By one link, which attaches in the order given."""
        probes = [
            probe
            for site in sites
            for probe in self._probes
            if probe.site is site and probe.group is group and probe.binary == process.binary
        ]
        if not probes:
            return
        is_return = Site.RETURN in sites
        try:
            self._links[group] += self._attachment.attach(process, probes, is_return=is_return)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise _explained(error, process) from error
            raise Refused(self._find_refused(process, probes, is_return)) from error

    def _find_refused(self, process: Process, probes: Sequence[Probe], is_return: bool) -> dict[int, str]:
        """Attach half after half, for a link is all or nothing.  Raises AttachFailed if it is not their fault."""
        try:
            links = self._attachment.attach(process, probes, is_return=is_return)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise _explained(error, process) from error
            if len(probes) == 1:
                return {probes[0].id: f"the kernel refused to probe its instruction (errno {error.errno})"}
            middle = len(probes) // 2
            halves = (probes[:middle], probes[middle:])
            return {
                probe: reason
                for half in halves
                for probe, reason in self._find_refused(process, half, is_return).items()
            }
        self._attachment.detach(links)
        return {}

    def detach(self, groups: Iterable[Group]) -> None:
        for group in groups:
            links = self._links.pop(group, [])
            if group is Group.SCHEDULING and self._tracepoints is not None:
                self._tracepoints.detach(links)
            else:
                self._attachment.detach(links)


def _explained(error: OSError, process: Process) -> RatError:
    if error.errno in (errno.ESRCH, errno.ENOENT):
        return NoSuchProcess(
            f"Process {process.pid} ({process.name}) ended before the probes were attached.", why=str(error)
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        lacking = missing_capabilities()
        return PermissionMissing(
            "Attaching probes is not permitted.",
            why=f"missing: {', '.join(lacking)}" if lacking else error.strerror or str(error),
        )
    return AttachFailed("The kernel refused the probes.", why=str(error), fix="rat-ebpf doctor")
