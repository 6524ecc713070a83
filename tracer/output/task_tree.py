"""`tree`: the async stack of each task, those that wait alike as one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from tracer.model import Array, FunctionKind
from tracer.output.frames import FutureFrame
from tracer.output.labels import short_name_of
from tracer.output.tables import plain_text
from tracer.output.task_list import TaskView, counts_words, group_alike
from tracer.stacks import TaskFlag, TaskState

_MOST_IDS = 8
_NAME_WIDTH = 48
_STATE_STYLES = {TaskState.RUNNING: "green", TaskState.READY: "yellow", TaskState.COMPLETE: "dim"}


def print_tree(view: TaskView, tasks: Array, console: Console) -> None:
    """A tree for each group of tasks that wait alike, the largest first, and the counts."""
    for alike in group_alike(tasks):
        console.print(_tree(view, alike), soft_wrap=True)
        console.print()
    console.print(plain_text(counts_words(view, tasks)))


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
        for frame in view.frames[stack]:
            _grow(tree, frame)
    elif task["state"] in (TaskState.WAITING, TaskState.READY):
        reason = "polled at each reading" if task["flags"] & TaskFlag.SHIFTED else "layout not known"
        tree.add(plain_text(f"(where it waits is not known: {reason})", "dim"))
    return tree


def _ids(alike: Array) -> Text:
    ids = [int(task["id"]) for task in alike if task["id"]]
    if not ids:
        return plain_text(f"  {_listed([f'0x{header:x}' for header in alike['header'].tolist()])}", "dim")
    return plain_text(f"  {'id' if len(ids) == 1 else 'ids'} {_listed([str(one) for one in sorted(ids)])}", "dim")


def _listed(words: Sequence[str]) -> str:
    more = f", … ({len(words) - _MOST_IDS:,} more)" if len(words) > _MOST_IDS else ""
    return ", ".join(words[:_MOST_IDS]) + more


def _grow(tree: Tree, frame: FutureFrame) -> None:
    """What has nothing beside it goes on in the same column: most stacks are one line below the other."""
    chain = [frame]
    while len(chain[-1].children) == 1:
        chain.append(chain[-1].children[0])
    width = min(max(cell_len(one.short) for one in chain), _NAME_WIDTH)
    node = tree.add(Text("\n").join(_line(one, width) for one in chain))
    for child in chain[-1].children:
        _grow(node, child)


def _line(frame: FutureFrame, width: int) -> Text:
    name = plain_text(frame.short, "" if frame.is_own else "dim")
    place = plain_text(frame.place, "cyan" if frame.is_own else "dim")
    words = [name, " " * max(width - name.cell_len, 0), "  ", place] if frame.place else [name]
    if not frame.is_whole:
        words.append(plain_text("  (unreadable)", "yellow"))
    return Text.assemble(*words)
