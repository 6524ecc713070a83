"""`tree`: the async stack of each task, those that wait alike as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from tracer.model import Array, FunctionKind
from tracer.output.blockers import is_own, own_crates
from tracer.output.finished import keeper_lines
from tracer.output.frames import FutureFrame
from tracer.output.labels import short_name_of
from tracer.output.running_polls import frame_name, frame_place, poll_words, told_frames
from tracer.output.tables import plain_text
from tracer.output.task_list import TaskView, counts_lines, group_alike, job_words
from tracer.stacks import RunningJob, RunningPoll, TaskFlag, TaskState

_MOST_IDS = 8
_MOST_LINKS, _MOST_ASKED = 3, 100
_NAME_WIDTH = 48
_STATE_STYLES = {TaskState.RUNNING: "green", TaskState.READY: "yellow", TaskState.COMPLETE: "dim"}


def print_tree(view: TaskView, tasks: Array, jobs: Sequence[RunningJob], console: Console) -> None:
    """Tasks that wait for each other for good; a tree for each group of tasks that wait alike, the largest first; one
    for each of the blocking jobs that stand alike; the counts."""
    cycles = view.links.cycles(view.indexes(tasks)) if view.links is not None else []
    for words in cycles:
        console.print(plain_text(words, "bold red"), soft_wrap=True)
    if cycles:
        console.print()
    for alike in group_alike(view, tasks):
        console.print(_tree(view, alike), soft_wrap=True)
        console.print()
    for (name, calls), count in Counter((job_words(view, job), job.poll) for job in jobs).most_common():
        console.print(_job_tree(view, name, calls, count), soft_wrap=True)
        console.print()
    for line in counts_lines(view, tasks):
        console.print(plain_text(line))


def _tree(view: TaskView, alike: Array) -> Tree:
    task = alike[0]
    name = short_name_of(view.future(int(task["function"])), FunctionKind.TASK)
    count = f"{len(alike):,} tasks: " if len(alike) > 1 else ""
    style = _STATE_STYLES.get(TaskState(int(task["state"])), "")
    tree = Tree(
        Text.assemble(plain_text(count + name, "bold"), "  ", plain_text(view.state(task), style), _ids(alike)),
        guide_style="dim",
    )
    stack = int(task["stack"])
    if stack >= 0:
        links = _links(view, alike)
        for frame in view.frames[stack]:
            _grow(tree, frame, links)
    elif (poll := view.poll_of(task)) is not None:
        tree.add(_calls(poll, view.binary.own_folders))
    elif task["state"] == TaskState.COMPLETE:
        for line in keeper_lines(view, alike):
            tree.add(plain_text(line, "magenta"))
    elif task["state"] in (TaskState.WAITING, TaskState.READY):
        reason = "polled at each reading" if task["flags"] & TaskFlag.SHIFTED else "layout not known"
        tree.add(plain_text(f"(where it waits is not known: {reason})", "dim"))
    return tree


def _job_tree(view: TaskView, name: str, poll: RunningPoll, count: int) -> Tree:
    several = f"{count:,} blocking jobs: " if count > 1 else "blocking job: "
    tree = Tree(Text.assemble(plain_text(several + name, "bold"), plain_text("  running", "green")), guide_style="dim")
    tree.add(_calls(poll, view.binary.own_folders))
    return tree


def _calls(poll: RunningPoll, own_folders: tuple[str, ...]) -> Text:
    """What a thread is in that polls a task, one call below the other."""
    frames, crates = told_frames(poll, own_folders), own_crates(poll.stack, own_folders)
    names = [frame_name(frame) for frame in frames]
    width = min(max(map(cell_len, names)), _NAME_WIDTH)
    lines = [
        _named_place(name, frame_place(frame), width, is_own=is_own(frame, own_folders, crates))
        for name, frame in zip(names, frames, strict=True)
    ]
    return Text("\n").join([*lines, plain_text(poll_words(poll), "dim")])


def _links(view: TaskView, alike: Array) -> dict[int, list[str]]:
    """By frame what its futures wait for and hold; where tasks that wait alike differ in that, the first few.  Of a
    lock that some of them hold it is said how many do: each of them can have one of its own."""
    if view.links is None:
        return {}
    found: dict[int, Counter[tuple[str, bool]]] = {}
    asked = alike[:_MOST_ASKED]
    for task in asked:
        for frame, words, is_held in dict.fromkeys(view.links.of(view.index(task))):
            found.setdefault(frame, Counter())[words, is_held] += 1
    return {
        frame: [
            f"{words} ({count:,} of {len(asked):,})" if is_held and count < len(asked) else words
            for (words, is_held), count in [*counts.items()][:_MOST_LINKS]
        ]
        + (["…"] if len(counts) > _MOST_LINKS or len(alike) > _MOST_ASKED else [])
        for frame, counts in found.items()
    }


def _ids(alike: Array) -> Text:
    """Where one has none the place of its header."""
    first = sorted((int(task["id"]), int(task["header"])) for task in alike[:_MOST_IDS])
    words = ", ".join([f"{id_}" for id_, _ in first if id_] + [f"0x{header:x}" for id_, header in first if not id_])
    more = f", … ({len(alike) - _MOST_IDS:,} more)" if len(alike) > _MOST_IDS else ""
    kind = "" if not first[-1][0] else "id " if len(alike) == 1 else "ids "
    return plain_text(f"  {kind}{words}{more}", "dim")


def _grow(tree: Tree, frame: FutureFrame, links: dict[int, list[str]], times: int = 1) -> None:
    """What has nothing beside it goes on in the same column: most stacks are one line below the other."""
    chain = [frame]
    while len(chain[-1].children) == 1:
        chain.append(chain[-1].children[0])
    width = min(max(cell_len(one.short) for one in chain), _NAME_WIDTH)
    lines = [line for one in chain for line in (_line(one, width), *_notes(one, links))]
    if times > 1:
        lines[0] = Text.assemble(plain_text(f"{times} \N{MULTIPLICATION SIGN} ", "bold"), lines[0])
    node = tree.add(Text("\n").join(lines))
    for child, count in _folded(chain[-1].children, links):
        _grow(node, child, links, count)


def _folded(frames: Sequence[FutureFrame], links: dict[int, list[str]]) -> list[tuple[FutureFrame, int]]:
    """Branches that follow each other and are alike, as one."""
    folded: list[tuple[FutureFrame, int]] = []
    for frame in frames:
        if folded and _looks(folded[-1][0], links) == _looks(frame, links):
            folded[-1] = folded[-1][0], folded[-1][1] + 1
        else:
            folded.append((frame, 1))
    return folded


def _looks(frame: FutureFrame, links: dict[int, list[str]]) -> tuple[object, ...]:
    below = tuple(_looks(child, links) for child in frame.children)
    return frame.short, frame.place, frame.is_whole, tuple(links.get(frame.number, ())), below


def _line(frame: FutureFrame, width: int) -> Text:
    words = [_named_place(frame.short, frame.place, width, is_own=frame.is_own)]
    if not frame.is_whole:
        words.append(plain_text("  (unreadable)", "yellow"))
    return Text.assemble(*words)


def _named_place(name: str, place: str, width: int, *, is_own: bool) -> Text:
    """A function or future, and its line from a column on."""
    named = plain_text(name, "" if is_own else "dim")
    if not place:
        return named
    return Text.assemble(
        named, " " * max(width - named.cell_len, 0), "  ", plain_text(place, "cyan" if is_own else "dim")
    )


def _notes(frame: FutureFrame, links: dict[int, list[str]]) -> list[Text]:
    return [plain_text(f"  {words}", "magenta") for words in links.get(frame.number, ())]
