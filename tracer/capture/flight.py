"""What a recording says that keeps only its latest time, as protobuf messages, and back.

Reading raises ValueError on a message that does not make sense.
"""

from __future__ import annotations

from tracer import capture_pb2 as pb
from tracer.capture.layouts import location_of, maybe_text, text, write_location
from tracer.model import Flight, Hit


def write_flight(flight: Flight | None) -> pb.Flight | None:
    if flight is None:
        return None
    hit = flight.hit
    return pb.Flight(
        last=flight.last,
        began=flight.began,
        hit=None
        if hit is None
        else pb.Hit(
            trigger=text(hit.trigger),
            kind=text(hit.kind),
            title=text(hit.title),
            time=hit.time,
            duration=hit.duration,
            limit=hit.limit,
            function=maybe_text(hit.function),
            location=write_location(hit.where),
            tid=hit.tid,
        ),
    )


def read_flight(message: pb.Flight) -> Flight:
    return Flight(message.last, message.began, _hit(message.hit) if message.HasField("hit") else None)


def _hit(message: pb.Hit) -> Hit:
    return Hit(
        message.trigger,
        message.kind,
        message.title,
        message.time,
        message.duration,
        message.limit if message.HasField("limit") else None,
        message.function if message.HasField("function") else None,
        location_of(message),
        message.tid if message.HasField("tid") else None,
    )
