"""Captures of every format version are kept, with what they have to say, and are read for ever.

NAME.ratcap is a capture; NAME.json holds its header, its items, and the polls and waits made of them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracer.assemble import begin, finish, step
from tracer.capture import CaptureReader
from tracer.model import CaptureEnd

FOLDER = Path(__file__).parent
CAPTURES = sorted(path.stem for path in FOLDER.glob("*.ratcap"))


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, np.ndarray):
        return [dict(zip(value.dtype.names or (), row.tolist(), strict=True)) for row in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(part) for part in value)
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def contents(path: Path) -> dict[str, Any]:
    """All that a capture says."""
    with CaptureReader(path) as reader:
        state, end = begin(reader.recording), None
        items, polls, waits = [], [], []
        for item in reader:
            items.append([type(item).__name__, plain(item)])
            if isinstance(item, CaptureEnd):
                end = item
                continue
            state, spans = step(state, item)
            polls.append(spans.polls)
            waits.append(spans.waits)
        state, spans = finish(state, end)
        return {
            "recording": plain(reader.recording),
            "items": items,
            "polls": plain(np.concatenate([*polls, spans.polls])),
            "waits": plain(np.concatenate([*waits, spans.waits])),
            "tally": plain(state.tally),
            "torn": reader.torn,
        }


def as_then(value: Any, expected: Any) -> Any:
    """A value without the fields that the model has got since, which have to say that nothing is known or unusual."""
    if isinstance(value, dict):
        if "is_waiting" in expected:  # of a parked future: 0 and 1 mean what they meant
            value = {"is_waiting" if key == "task" else key: part for key, part in value.items()}
        assert not any(value[key] for key in value.keys() - expected.keys() - {"is_verified"})
        assert "is_verified" in expected or value.get("is_verified", True)
        return {key: as_then(part, expected[key]) for key, part in value.items() if key in expected}
    if isinstance(value, list) and len(value) == len(expected):
        return [as_then(part, other) for part, other in zip(value, expected, strict=True)]
    return value


@pytest.mark.parametrize("name", CAPTURES)
def test_a_kept_capture_says_what_it_always_said(name: str) -> None:
    expected = json.loads((FOLDER / f"{name}.json").read_text())
    assert as_then(json.loads(json.dumps(contents(FOLDER / f"{name}.ratcap"))), expected) == expected


def test_there_is_one_of_every_format() -> None:
    versions = {(FOLDER / f"{name}.ratcap").read_bytes()[8] for name in CAPTURES}
    assert versions == {1}
