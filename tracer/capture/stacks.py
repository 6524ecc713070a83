"""Stacks and their samples as protobuf messages, and back.

Reading raises ValueError on a message that does not make sense.
"""

from __future__ import annotations

from dataclasses import asdict, fields

import numpy as np

from tracer import capture_pb2 as pb
from tracer.capture.layouts import checked_index, text
from tracer.model import STACK_SAMPLE, Frame, SourceLocation, Stack, StackCensus, Stacks, StackSamples


def write_stack_samples(samples: StackSamples) -> bytes:
    return pb.StackSamples(samples=samples.samples.tobytes()).SerializeToString()


def read_stack_samples(data: bytes) -> StackSamples:
    return StackSamples(np.frombuffer(pb.StackSamples.FromString(data).samples, STACK_SAMPLE))


def write_stacks(told: Stacks) -> bytes:
    texts: dict[str, int] = {}
    frames: dict[Frame, int] = {}

    def number(words: str | None) -> int:
        return texts.setdefault(text(words), len(texts) + 1) if words is not None else 0

    message = pb.Stacks(census=pb.StackCensus(**asdict(told.census)))
    for stack in told.stacks:
        indexes = [frames.setdefault(frame, len(frames)) for frame in stack.frames]
        message.stacks.add(frames=indexes, is_whole=stack.is_whole)
    for frame in frames:
        place = frame.location
        message.frames.add(
            function=number(frame.function),
            file=number(place.file if place is not None else None),
            line=place.line if place is not None else 0,
            is_inlined=frame.is_inlined,
            module=number(frame.module),
            crate=number(frame.crate),
        )
    message.texts.extend(texts)
    return message.SerializeToString()


def read_stacks(data: bytes) -> Stacks:
    message = pb.Stacks.FromString(data)
    texts = (None, *message.texts)

    def words(number: int) -> str | None:
        return texts[checked_index(number, len(texts))]

    frames = []
    for one in message.frames:
        file = words(one.file)
        place = SourceLocation(file, one.line) if file is not None else None
        frames.append(Frame(words(one.function), place, one.is_inlined, words(one.module) or "", words(one.crate)))
    stacks = tuple(
        Stack(tuple(frames[checked_index(index, len(frames))] for index in one.frames), one.is_whole)
        for one in message.stacks
    )
    census = message.census
    counts = {one.name: getattr(census, one.name) for one in fields(StackCensus) if one.name != "refused"}
    return Stacks(stacks, StackCensus(**counts, refused=census.refused if census.HasField("refused") else None))
