"""Where a stack of futures waits, by what is known of the user's own source."""

from __future__ import annotations

from dataclasses import replace

from tests.captures import function, plan_of
from tracer.model import AwaitPoint, Layout, LayoutEdge, LayoutKind, Source, SourceLocation
from tracer.output.frames import future_frames, innermost_own, parked
from tracer.stacks import Frame, Stack

REGISTRY = "/srv/.cargo/registry/src/x"


def layout(name: str, file: str, line: int) -> Layout:
    place = SourceLocation(f"{REGISTRY}/{file}", line)
    edges = (LayoutEdge(3, 8, False, None),)
    kind, points = LayoutKind.COROUTINE, (AwaitPoint(3, place, None),)
    return Layout(name, kind, Source.DWARF, 64, edges, 0, 1, points, place, name)


def test_the_users_own_lies_where_dependencies_do() -> None:
    """Below a future of a dependency, in a program that `cargo install` built."""
    layouts = (
        layout("tracing::Instrumented", "tracing-0.1.44/src/instrument.rs", 1),
        layout("server::handle", "server-1.0.0/src/main.rs", 2),
        layout("tokio::accept", "tokio-1.54.1/src/listener.rs", 3),
    )
    (binary,) = plan_of([function("server::handle")], []).binaries
    binary = replace(binary, layouts=layouts)
    stack = Stack(tuple(Frame(number - 1, number, None, 3) for number in range(3)))
    assert parked(future_frames(stack, replace(binary, own_folder=f"{REGISTRY}/server-1.0.0"))).location == (
        SourceLocation(f"{REGISTRY}/server-1.0.0/src/main.rs", 2)
    )
    assert parked(future_frames(stack, binary)).location == layouts[0].location


def test_where_it_surely_waits_beside_a_limit() -> None:
    """Of a hand-written future's own: whether it polls that yet, nothing tells."""
    response = layout("server::answer", "server-1.0.0/src/main.rs", 2)
    limit = replace(response, name="tokio::Sleep", kind=LayoutKind.FUTURE, edges=(), awaits=(), location=None)
    both = LayoutEdge(None, 0, False, 0), LayoutEdge(None, 64, False, 1)
    limited = replace(limit, name="tower::ResponseFuture", edges=both, discriminant_offset=None)
    (binary,) = plan_of([function("server::handle")], []).binaries
    binary = replace(binary, layouts=(response, limit, limited), own_folder=f"{REGISTRY}/server-1.0.0")
    stack = Stack((Frame(-1, 2, None, None), Frame(0, 0, None, 3), Frame(0, 1, None, None)))
    found = parked(future_frames(stack, binary))
    assert found.location == SourceLocation(f"{REGISTRY}/server-1.0.0/src/main.rs", 2)
    assert found.leaf == "server::answer | Sleep (if polled)"


def test_the_innermost_line_of_ones_own_lies_below_branches_of_others() -> None:
    """As in axum: its select! has the user's handler as one branch."""
    layouts = (
        replace(layout("axum::serve", "axum-0.8.9/src/serve/mod.rs", 1), edges=()),
        layout("server::limited", "server-1.0.0/src/main.rs", 2),
        layout("tokio::Acquire", "tokio-1.54.1/src/semaphore.rs", 3),
        layout("tokio::Notified", "tokio-1.54.1/src/notify.rs", 4),
    )
    (binary,) = plan_of([function("server::handle")], []).binaries
    binary = replace(binary, layouts=layouts, own_folder=f"{REGISTRY}/server-1.0.0")
    stack = Stack((Frame(-1, 0, None, 3), Frame(0, 3, None, 3), Frame(0, 1, None, 3), Frame(2, 2, None, 3)))
    frames = future_frames(stack, binary)
    assert parked(frames).location == layouts[0].location
    own = innermost_own(frames, 3)
    assert own is not None
    assert (own.name, own.location) == ("server::limited", layouts[1].location)
    assert innermost_own(frames, 1) is None
