"""Chains in words: what a wait is named after, its branches, and what is not known."""

from __future__ import annotations

from dataclasses import replace

from tests.captures import LAYOUTS, function, plan_of, walked
from tracer.model import AwaitPoint, LayoutEdge, LayoutKind, Plan, Register, SourceLocation
from tracer.output.chains import Chains

OWN, FOREIGN = "/srv/server/src/main.rs", "/srv/build/.cargo/registry/src/x/tokio-1.54.1/src/sync/mutex.rs"
SELECT = SourceLocation("/srv/build/.cargo/registry/src/x/tokio-1.54.1/src/macros/select.rs", 746)


def plan(inner: str = FOREIGN, macro: SourceLocation | None = None) -> Plan:
    """`outer` awaits at its state 3 `inner`, which awaits in this file; at 4 two leaves at once."""
    outer, middle, leaf = LAYOUTS
    own = SourceLocation(OWN, 30)
    outer = replace(
        outer,
        name="server::outer",
        awaits=(AwaitPoint(3, own, "tokio::inner"), AwaitPoint(4, None if macro else own, "Leaf", macro)),
    )
    middle = replace(middle, name="tokio::inner", awaits=(AwaitPoint(3, SourceLocation(inner, 10), "tokio::Leaf"),))
    one = replace(function("server::outer"), layout=0, self_register=Register.RDI, awaits=outer.awaits)
    return walked(plan_of([one], []), (outer, middle, replace(leaf, name="tokio::Leaf")))


def numbers(made: Plan, state: int) -> list[int]:
    """Of the places of the leaves below this state."""
    places = dict(enumerate(made.places, 1))
    under = [number for number, one in places.items() if one.parent == 1 and one.state == state]
    below = [number for number, one in places.items() if one.parent in under]
    return below[:1] or under


def packed(several: list[int]) -> int:
    return sum(number << 16 * at for at, number in enumerate(several))


def test_named_after_the_innermost_await_of_the_users_own() -> None:
    made = plan()
    waiting = Chains(made).waiting(0, 3, packed(numbers(made, 3)))
    assert (waiting.title, waiting.awaitee) == ("waiting: tokio::inner", "tokio::inner")
    assert waiting.location == SourceLocation(OWN, 30)
    assert waiting.chain == (
        "server::outer at server/src/main.rs:30",
        "tokio::inner at tokio-1.54.1/src/sync/mutex.rs:10 (inlined)",
        "Leaf (inlined)",
    )
    assert [step.name for step in waiting.inlined] == ["tokio::inner", "tokio::Leaf"]
    assert waiting.is_whole


def test_through_an_inlined_future_of_the_users_own() -> None:
    made = plan(inner=OWN)
    waiting = Chains(made).waiting(0, 3, packed(numbers(made, 3)))
    assert (waiting.title, waiting.location) == ("waiting: Leaf", SourceLocation(OWN, 10))


def test_where_nothing_is_the_users_own_a_task_waits_where_its_future_does() -> None:
    """As of a task of a dependency's."""
    made = plan()
    outer = made.layouts[0]
    awaits = tuple(replace(point, location=SourceLocation(FOREIGN, 30)) for point in outer.awaits)
    task = replace(made.functions[0], name="task server::outer", awaits=())
    made = replace(made, functions=(task,), layouts=(replace(outer, awaits=awaits), *made.layouts[1:]))
    waiting = Chains(made).waiting(0, None, packed(numbers(made, 3)))
    assert (waiting.title, waiting.location) == ("waiting: tokio::inner", SourceLocation(FOREIGN, 30))


def test_the_users_own_lies_where_dependencies_do() -> None:
    """As in a program that `cargo install` built."""
    inner = "/srv/build/.cargo/registry/src/x/server-1.0.0/src/inner.rs"
    made = plan(inner)
    assert Chains(made).waiting(0, 3, packed(numbers(made, 3))).location == SourceLocation(OWN, 30)
    (binary,) = made.binaries
    made = replace(made, binaries=(replace(binary, own_folder="/srv/build/.cargo/registry/src/x/server-1.0.0"),))
    assert Chains(made).waiting(0, 3, packed(numbers(made, 3))).location == SourceLocation(inner, 10)


def test_several_branches() -> None:
    made = plan()
    waiting = Chains(made).waiting(
        0, 4, packed([n for n, one in enumerate(made.places, 1) if (one.parent, one.state) == (1, 4)])
    )
    assert waiting.title == "waiting: Leaf"
    assert waiting.chain == ("server::outer at server/src/main.rs:30", "Leaf (inlined)", "Leaf (inlined)")
    assert not waiting.inlined


def test_a_branch_of_a_select_may_be_off() -> None:
    """Its mask is not read: only a coroutine's own state tells."""
    made = plan(macro=SELECT)
    poll_fn = replace(made.layouts[2], name="PollFn", edges=(replace(made.layouts[0].edges[0], value=None, child=3),))
    outer = replace(made.layouts[0], edges=(replace(made.layouts[0].edges[0], value=4, child=2),))
    made = walked(made, (outer, made.layouts[1], poll_fn, made.layouts[2]))
    assert made.layouts[3].kind is LayoutKind.FUTURE
    waiting = Chains(made).waiting(0, 4, packed([len(made.places)]))
    assert waiting.chain[-1] == "Leaf (if enabled) (inlined)"


def test_named_after_what_is_surely_polled_not_after_a_limit_beside_it() -> None:
    """As tower's ResponseFuture has it: the limit is another branch of the chain."""
    made = plan(inner=OWN)
    outer, middle, leaf = made.layouts
    both = LayoutEdge(None, 0, False, 1), LayoutEdge(None, 40, False, 2)
    limited = replace(leaf, name="tower::Limited", edges=both)
    outer = replace(outer, edges=(replace(outer.edges[0], child=3),))
    made = walked(made, (outer, middle, leaf, limited))
    leaves = [number for number, one in enumerate(made.places, 1) if one.layout == 2]
    inside, limit = (next(n for n in leaves if made.places[n - 1].state == state) for state in (3, None))
    waiting = Chains(made).waiting(0, 3, packed([inside, limit]))
    assert (waiting.title, waiting.location) == ("waiting: Leaf", SourceLocation(OWN, 10))
    inner = "tokio::inner at server/src/main.rs:10 (inlined)"
    assert waiting.chain[1:] == ("Limited (inlined)", f"{inner} → Leaf (inlined)", "Leaf (inlined)")
    assert [step.name for step in waiting.inlined] == ["tower::Limited", "tokio::inner", "tokio::Leaf"]


def test_as_far_as_it_is_known() -> None:
    made = plan()
    (inner,) = [number for number, one in enumerate(made.places, 1) if one.parent == 1 and one.state == 3]
    waiting = Chains(made).waiting(0, 3, inner)
    assert waiting.chain[-1] == "tokio::inner (inlined)"
    assert not waiting.is_whole
    assert Chains(made).waiting(0, 3, 0).chain == ()
    assert Chains(made).waiting(0, 3, 0xFFFF).chain == ()  # no such place
