"""The types of coroutines by their names and lines: the same that the functions' own entries tell, where those do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.running import Targets
from tracer.rust.candidates import find_candidates
from tracer.rust.dwarf import Dwarf
from tracer.rust.environments import Selfless, environments
from tracer.rust.judge import Judge, Verdict, try_verdicts
from tracer.rust.lines import LineTables
from tracer.rust.lookup import SubprogramLookup
from tracer.rust.types import Types
from tracer.target.elf import open_elf


@pytest.mark.parametrize("profile", ["dev", "release-debug", "dwarf5", "bfd"])
def test_they_are_those_that_the_functions_tell(targets: Targets, profile: str) -> None:
    with open_elf(targets.path("tokio_multi", profile)) as image:
        candidates, _ = find_candidates(image, image)
        dwarf = Dwarf(image, {})
        types, lines = Types(dwarf), LineTables(dwarf)
        judge = Judge(dwarf, types, lines)
        dies = SubprogramLookup(dwarf).find({one.address: one.size for one in candidates})
        told: dict[int, Verdict] = {}
        wanted: dict[int, Selfless] = {}
        for one in candidates:
            found = dies.get(one.address, [])
            verdicts = try_verdicts(judge, one, found)
            if len(found) != 1 or not verdicts or verdicts[0].future is None or verdicts[0].runtime is not None:
                continue
            name = dwarf.name_of(found[0])
            if name.startswith("{async_") and verdicts[0].location is not None:
                told[one.address] = verdicts[0]
                wanted[one.address] = Selfless(name, verdicts[0].location, one.names)
        by_name = environments(dwarf, types, judge.begin_of, wanted)
        assert by_name.keys() == wanted.keys()
        assert len(wanted) >= 8
        for address, (position, path) in by_name.items():
            assert (told[address].type_path or "").endswith(path or wanted[address].own_name.replace("#", "_env#", 1))
            assert types.at(position).size == types.at(told[address].future or 0).size

        # What a macro makes twice in one line has two names, and nobody can tell whose type is which.
        first, *_ = by_name
        twice = {first: wanted[first], 1: replace(wanted[first], symbols=("another",))}
        assert environments(dwarf, types, judge.begin_of, twice) == {}
