"""Samples as a pprof profile, which `go tool pprof`, speedscope and Pyroscope read."""

from __future__ import annotations

import gzip
from pathlib import Path

from tracer.model import SourceLocation
from tracer.output.files import OutputFile
from tracer.output.folded import stack_of
from tracer.output.frames import FutureFrame
from tracer.output.sampled import SampledRun
from tracer.pprof_pb2 import Profile
from tracer.terminal import printable


def write_pprof(run: SampledRun, path: Path) -> None:
    """Values: how often tasks were seen so, and how long (ns) all tasks together were.  Raises OutputFailed."""
    profile = _Builder(run).profile
    with OutputFile(path) as file:
        file.write(gzip.compress(profile.SerializeToString(), 6))
        file.commit()


class _Builder:
    def __init__(self, run: SampledRun) -> None:
        self.profile = Profile()
        self._strings: dict[str, int] = {}
        self._functions: dict[tuple[str, str], int] = {}
        self._locations: dict[tuple[int, int], int] = {}
        self._string("")
        for name, unit in (("samples", "count"), ("time", "nanoseconds")):
            self.profile.sample_type.add(type=self._string(name), unit=self._string(unit))
        self.profile.default_sample_type = self._string("time")
        self.profile.period_type.type, self.profile.period_type.unit = self._string("time"), self._string("nanoseconds")
        self.profile.period = round(1e9 / run.pace.asked)
        self.profile.time_nanos = run.clock.realtime + run.began - run.clock.monotonic
        self.profile.duration_nanos = run.ended - run.began
        what = "time of async tasks by what they wait for, sampled by rat-ebpf; not of CPUs"
        self.profile.comment.append(self._string(what))
        for kind, time, count in zip(run.shares.kinds, run.shares.times, run.shares.samples.tolist(), strict=True):
            places = _places(run.words.frames(kind.function, kind.stack))
            names = [
                (name, places[number] if number < len(places) else None)
                for number, name in enumerate(stack_of(run, kind))
            ]
            sample = self.profile.sample.add(value=[count, round(float(time))])
            sample.location_id.extend(self._location(name, place) for name, place in reversed(names))
            sample.label.add(key=self._string("state"), str=self._string(kind.state.name.lower()))
        self.profile.string_table.extend(self._strings)

    def _string(self, text: str) -> int:
        return self._strings.setdefault(printable(text), len(self._strings))

    def _location(self, name: str, place: SourceLocation | None) -> int:
        file, line = (place.file, place.line) if place else ("", 0)
        function = self._functions.get((name, file))
        if function is None:
            function = self._functions[name, file] = len(self._functions) + 1
            text = self._string(name)
            self.profile.function.add(id=function, name=text, system_name=text, filename=self._string(file))
        location = self._locations.get((function, line))
        if location is None:
            location = self._locations[function, line] = len(self._locations) + 1
            self.profile.location.add(id=location).line.add(function_id=function, line=line)
        return location


def _places(frames: tuple[FutureFrame, ...]) -> list[SourceLocation | None]:
    """Of the futures down to where they branch, where each awaits."""
    found = []
    while len(frames) == 1:
        found.append(frames[0].location)
        frames = frames[0].children
    return found
