"""Attaching a plan's probes to processes, in groups that come and go together.

By uprobe_multi links where the kernel has them: one call attaches thousands of places, closing
the link detaches them, and a dead tracer leaves nothing behind.  Else by BCC, one perf event a
place, which is slow to detach (0.1 s each) and limited to a thousand places.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tracer.errors import AttachFailed, NoSuchProcess, PermissionMissing, RatError
from tracer.model import Group, Probe, Process, Site
from tracer.probe.bcc_compiler import attach_uprobe
from tracer.probe.hand import Hand
from tracer.probe.leaving import Leaving
from tracer.probe.permission import missing_capabilities
from tracer.probe.scheduling import Tracepoints

BCC_LIMIT = 1_000
DIVISIBLE = frozenset({Group.FUTURES})
"""Groups whose functions come and go one by one."""
LINK_SHIFT, MAX_LINKS = 32, 64
"""As bpf/events.h has them."""
_MOST_PARTS = 8
_SITES = (
    (Site.RETURN,),
    (Site.EXIT, Site.RETURNED, Site.END, Site.SPAWN, Site.SPAWNED, Site.WAKE, Site.CALL, Site.ENTRY),
)
"""What one link can have, in the order in which it is attached."""
_ENOTSUPP = 524  # the kernel's own, what it says of an instruction that it does not probe
_REFUSED = (_ENOTSUPP, errno.EINVAL, errno.EIO, errno.EILSEQ)


class Detaching(Protocol):
    @property
    def is_over(self) -> bool: ...

    def wait(self) -> None: ...


class Attachment(Protocol):
    @property
    def is_divisible(self) -> bool:
        """Probes that were attached together can be detached one by one."""
        ...

    def attach(self, process: Process, probes: Sequence[Probe], *, is_return: bool, number: int = 0) -> list[int]:
        """All of the probes or none; returns their links.  number: the link's, for its cookies.
        Raises OSError or AttachFailed."""
        ...

    def detach(self, links: Sequence[int]) -> Detaching:
        """Begin to."""
        ...


@dataclass(frozen=True, slots=True)
class MultiAttachment:
    """uprobe_multi links.  filters_process: the kernel's pid filter can be trusted with threads."""

    hand: Hand
    at_instruction: int
    at_return: int
    executables: Sequence[Path]
    filters_process: bool
    is_divisible: bool = False

    def attach(self, process: Process, probes: Sequence[Probe], *, is_return: bool, number: int = 0) -> list[int]:
        link = self.hand.make(
            self.at_return if is_return else self.at_instruction,
            self.executables[process.binary],
            [probe.offset for probe in probes],
            [number << LINK_SHIFT | probe.id for probe in probes],
            is_return=is_return,
            pid=process.pid if self.filters_process else 0,
        )
        return [link]

    def detach(self, links: Sequence[int]) -> Detaching:
        return self.hand.close(links)


@dataclass(frozen=True, slots=True)
class BccAttachment:
    """One perf event a probe, without a cookie: the program finds the probe by its address."""

    at_instruction: int
    at_return: int
    executables: Sequence[Path]
    is_divisible: bool = True

    def attach(self, process: Process, probes: Sequence[Probe], *, is_return: bool, number: int = 0) -> list[int]:
        path = str(self.executables[process.binary])
        links: list[int] = []
        try:
            for probe in probes:
                name = f"rat_{os.getpid()}_{process.pid}_{number}_{probe.id}"
                program = self.at_return if is_return else self.at_instruction
                links.append(attach_uprobe(program, name, path, probe.offset, process.pid, is_return=is_return))
        except OSError:
            self.detach(links).wait()
            raise
        return links

    def detach(self, links: Sequence[int]) -> Detaching:
        return Leaving([links])  # one after the other, for nothing waits for them


class Refused(Exception):
    """The kernel would not probe these.  Nothing of what was asked for is attached."""

    def __init__(self, probes: dict[int, str]) -> None:
        super().__init__(probes)
        self.probes = probes


@dataclass(frozen=True, slots=True)
class Handed:
    """Probes (ids) that a link, of an odd number or an even one, has taken over from another one."""

    probes: list[int]
    is_odd: bool


@dataclass(eq=False, slots=True)
class _Part:
    """Probes that came together.  number: as the cookies of its links have it."""

    group: Group
    probes: list[Probe]
    number: int = 0
    links: list[int] = field(default_factory=list)


class Links:
    """What is attached, by group.

    Exits come before entries.  Detaching takes the kernel some 50 ms a link, and other processes do it: whoever needs
    a sharp end stops the events first (PollProgram.end_epoch, silence).

    A link is all or nothing.  Where one loses a part of its probes, another one is attached to the rest, takes over,
    and the first one is closed (see tracer.probe.handover); there are few links that way, each of probes that came
    together: a link costs 50 ms when it goes.  Links have numbers, by which they are switched on and off; those of
    BCC's attachment have none, and are all gone before others come.

    tracepoints: what Group.SCHEDULING is; without, that is never attached.  switch: PollProgram.switch_link.
    """

    def __init__(
        self,
        attachment: Attachment,
        processes: Sequence[Process],
        probes: Sequence[Probe],
        tracepoints: Tracepoints | None = None,
        *,
        switch: Callable[[int, bool], None],
    ) -> None:
        self._attachment = attachment
        self._tracepoints = tracepoints
        self._switch = switch
        self._processes = tuple(processes)
        self._probes = tuple(probes)
        self._parts: list[_Part] = []
        self._closing: list[tuple[int, Detaching]] = []

    @property
    def active(self) -> frozenset[Group]:
        return frozenset(part.group for part in self._parts)

    @property
    def attached(self) -> frozenset[int]:
        """The ids of the probes that are attached."""
        return frozenset(probe.id for part in self._parts for probe in part.probes)

    def attach(
        self,
        groups: Iterable[Group],
        *,
        without: Collection[int] = (),
        skips_ended: bool = False,
    ) -> None:
        """Attach what is not attached yet of these groups, except the probes `without` (ids).

        skips_ended: a process that has ended is passed over, else it raises NoSuchProcess.
        Raises Refused (then nothing asked for is attached), NoSuchProcess, PermissionMissing or AttachFailed.
        """
        there, began = self.attached, len(self._parts)
        active = self.active
        try:
            for group in groups:
                if group is Group.SCHEDULING:
                    if self._tracepoints is not None and group not in active:
                        self._attach_tracepoints()
                    continue
                left = there.union(without)
                probes = [probe for probe in self._probes if probe.group is group and probe.id not in left]
                if not probes:
                    continue
                if self._attachment.is_divisible:
                    self.wait()
                    parts = [_Part(group, [probe]) for probe in self._in_order(probes)]
                else:
                    parts = [_Part(group, probes, self._number(0))]
                for part in parts:
                    self._parts.append(part)
                    self._attach_part(part, skips_ended=skips_ended)
                    self._switch(part.number, True)
        except BaseException:
            self._close(self._parts[began:])
            del self._parts[began:]
            raise

    def detach(self, groups: Iterable[Group]) -> None:
        """Detach all of these groups."""
        self._leave([part for part in self._parts if part.group in groups])

    def _leave(self, parts: Sequence[_Part]) -> None:
        self._parts = [part for part in self._parts if part not in parts]
        for part in parts:
            self._switch(part.number, False)
        self._close(parts)

    def remove(self, probes: Collection[int]) -> list[Handed]:
        """Detach these, which send nothing any more, and no others; only of groups that are DIVISIBLE.

        Returns what links have taken over from others, so that some hits were sent by both of them.
        A process that has ended is passed over.  Raises PermissionMissing or AttachFailed; then others than these are
        attached as before.
        """
        handed: list[Handed] = []
        gone: list[_Part] = []
        try:
            for part in list(self._parts):
                rest = [probe for probe in part.probes if probe.id not in probes]
                if len(rest) == len(part.probes):
                    continue
                if rest:
                    handed.append(self._follow(part.number, part.group, rest))
                gone.append(part)
        finally:
            self._leave(gone)
        return handed

    def gather(self) -> list[Handed]:
        """Let one link take over from many, where there are.  Returns and raises what remove() does."""
        parts = [part for part in self._parts if part.group in DIVISIBLE and part.number]
        even = [part for part in parts if part.number % 2 == 0]
        odd = [part for part in parts if part.number % 2]
        many = max(even, odd, key=len)
        if len(parts) <= _MOST_PARTS:
            return []
        handed = self._follow(many[0].number, many[0].group, [probe for part in many for probe in part.probes])
        self._leave(many)
        return [handed]

    def _follow(self, number: int, group: Group, probes: list[Probe]) -> Handed:
        """Attach these, which links with such a number (odd or even) have, anew and by one link: each hit is sent by
        one of them or by both until those leave, and nothing is missed."""
        follower = _Part(group, probes, self._number(number + 1))
        try:
            self._attach_part(follower, skips_ended=True)
        except BaseException:
            self._close([follower])
            raise
        self._switch(follower.number, True)
        self._parts.append(follower)
        return Handed([probe.id for probe in probes], is_odd=follower.number % 2 == 1)

    def wait(self) -> None:
        """Until all that was detached is gone."""
        for _, leaving in self._closing:
            leaving.wait()
        self._closing = []

    def _number(self, parity: int) -> int:
        """A number that no link has, even or odd as this one is."""
        self._closing = [(number, leaving) for number, leaving in self._closing if not leaving.is_over]
        number = self._free_number(parity)
        if number is None:
            self.wait()
            number = self._free_number(parity)
        if number is None:
            raise AttachFailed("There are too many links.", why=f"{len(self._parts)} are attached")
        self._switch(number, False)
        return number

    def _free_number(self, parity: int) -> int | None:
        taken = {part.number for part in self._parts} | {number for number, _ in self._closing}
        return next((number for number in range(2 + parity % 2, MAX_LINKS, 2) if number not in taken), None)

    def _in_order(self, probes: Sequence[Probe]) -> list[Probe]:
        return [probe for sites in _SITES for site in sites for probe in probes if probe.site is site]

    def _attach_part(self, part: _Part, *, skips_ended: bool) -> None:
        for sites in _SITES:
            for process in self._processes:
                try:
                    self._attach_sites(part, sites, process)
                except NoSuchProcess:
                    if not skips_ended:
                        raise

    def _close(self, parts: Sequence[_Part]) -> None:
        """Begin to close their links."""
        for part in parts:
            if part.group is Group.SCHEDULING and self._tracepoints is not None:
                self._tracepoints.detach(part.links)
        rest = [part for part in parts if part.group is not Group.SCHEDULING and part.links]
        if self._attachment.is_divisible:
            links = [link for part in rest for link in part.links]
            self._closing += [(0, self._attachment.detach(links))] if links else []
        else:
            self._closing += [(part.number, self._attachment.detach(part.links)) for part in rest]

    def _attach_tracepoints(self) -> None:
        assert self._tracepoints is not None
        try:
            links = self._tracepoints.attach()
        except OSError as error:
            raise AttachFailed("The kernel refused its tracepoints.", why=str(error), fix="rat-ebpf doctor") from error
        self._parts.append(_Part(Group.SCHEDULING, [], links=links))

    def _attach_sites(self, part: _Part, sites: Sequence[Site], process: Process) -> None:
        """By one link, which attaches in the order given."""
        ordered = [probe for site in sites for probe in part.probes if probe.site is site]
        probes = [probe for probe in ordered if probe.binary == process.binary]
        if not probes:
            return
        is_return = Site.RETURN in sites
        try:
            part.links += self._attachment.attach(process, probes, is_return=is_return, number=part.number)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise _explained(error, process) from error
            raise Refused(self._find_refused(process, probes, is_return, part.number)) from error

    def _find_refused(self, process: Process, probes: Sequence[Probe], is_return: bool, number: int) -> dict[int, str]:
        """Attach half after half, for a link is all or nothing.  Raises AttachFailed if it is not their fault."""
        try:
            links = self._attachment.attach(process, probes, is_return=is_return, number=number)
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
                for probe, reason in self._find_refused(process, half, is_return, number).items()
            }
        self._attachment.detach(links).wait()
        return {}


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
