"""What the tasks of a snapshot wait for and hold.

It is read twice, and the tasks' states with it: what is told of a task was so while it was where its stack says.
"""

from __future__ import annotations

import numpy as np

from tracer.model import Array, Binary, LinkKind
from tracer.snapshot.channels import read_ends, with_messages
from tracer.snapshot.image import Image
from tracer.snapshot.link_reading import LinkReading, LinksFound
from tracer.snapshot.vtables import FutureVtables
from tracer.stacks import KEEPER, LINK, LINK_CHANGES, LINK_KINDS, LinkFlag, Snapshot, TaskState
from tracer.target.memory import Addresses, Memory


def read_channels(binary: Binary, vtables: FutureVtables, memory: Memory, snapshot: Snapshot) -> Array:
    """The channels that these tasks have an end of or wait for, dtype CHANNEL.  Raises as read_links()."""
    reading = LinkReading(binary, vtables, Image(memory), snapshot)
    return read_ends(memory, reading.run().links, [*reading.backlogs])


def read_links(binary: Binary, vtables: FutureVtables, memory: Memory, snapshot: Snapshot) -> LinksFound:
    """Raises NoSuchProcess, PermissionMissing."""
    first = LinkReading(binary, vtables, Image(memory), snapshot).run()
    reading = LinkReading(binary, vtables, Image(memory), snapshot)
    second = reading.run()
    channels = read_ends(memory, second.links, [*reading.backlogs])
    keepers = _keepers(np.concatenate([first.links, second.links]), snapshot)
    is_known = first.is_known & second.is_known
    one, other = (_each_once(found.links[is_known[found.links["task"]]]) for found in (first, second))
    if len(one[0]) != len(other[0]) or (one[0] != other[0]).any():
        for keys, links, others in ((*one, other[0]), (*other, one[0])):
            is_known[links["task"][~np.isin(keys, others)]] = False
    (_, links), (_, again) = (_each_once(found.links[is_known[found.links["task"]]]) for found in (first, second))
    links["place"][links["before"] != again["before"]] = 0
    leaves = np.maximum(first.leaves, second.leaves)
    links = with_messages(_with_descriptors(_with_targets(links, snapshot)), channels)
    return LinksFound(links, channels, is_known, leaves, first.time, keepers)


def _keepers(links: Array, snapshot: Snapshot) -> Array:
    """Who has the handle of a task that is complete (dtype KEEPER).  links: of readings, each for itself.

    They need not agree: a task does not become another one when it is complete, and where a future has a
    variable with its address, in a list that may grow meanwhile, that is its handle.
    """
    is_certain = (links["flags"] & np.uint8(LinkFlag.CERTAIN)) != 0
    handles = _with_targets(links[is_certain & (links["kind"] == LINK_KINDS.index(LinkKind.TASK))], snapshot)
    handles = handles[handles["target"] >= 0]
    handles = handles[snapshot.tasks["state"][handles["target"]] == TaskState.COMPLETE]
    keepers = np.zeros(len(handles), KEEPER)
    keepers["finished"], keepers["task"], keepers["frame"] = handles["target"], handles["task"], handles["frame"]
    _, first = np.unique(keepers["finished"], return_index=True)
    return keepers[first]


def _each_once(links: Array) -> tuple[Addresses, Array]:
    """Keys, ascending, and the links that they are of.  A key is all of a link mixed into one number: whole records
    are slow to sort.  All but who is before it in a queue and what waits in a channel, which change while it waits."""
    keys = np.zeros(len(links), np.uint64)
    words = np.ascontiguousarray(links).view("<u8").reshape(len(links), LINK.itemsize // 8)
    with np.errstate(over="ignore"):
        for column in range(words.shape[1] - len(LINK_CHANGES)):
            keys = (keys ^ words[:, column]) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(29)
    keys, first = np.unique(keys, return_index=True)
    return keys, links[first]


def _with_targets(links: Array, snapshot: Snapshot) -> Array:
    """With the tasks that handles lead to, ordered by task and frame."""
    headers = snapshot.tasks["header"]
    order = np.argsort(headers)
    place = np.searchsorted(headers, links["address"], sorter=order)
    found = order[np.minimum(place, max(len(headers) - 1, 0))] if len(headers) else np.zeros(len(links), np.intp)
    is_one = (links["kind"] == LINK_KINDS.index(LinkKind.TASK)) & (len(headers) > 0)
    is_one &= headers[found] == links["address"] if len(headers) else False
    links["target"] = np.where(is_one, found, -1)
    return links[np.lexsort((links["address"], links["role"], links["frame"], links["task"]))]


def _with_descriptors(links: Array) -> Array:
    """With the descriptors that only who has the file tells."""
    is_io = links["kind"] == LINK_KINDS.index(LinkKind.IO)
    told = links[is_io & (links["number"] >= 0)]
    told = told[np.unique(told["address"], return_index=True)[1]]
    asked = np.flatnonzero(is_io & (links["number"] < 0))
    if len(told) and len(asked):
        place = np.minimum(np.searchsorted(told["address"], links["address"][asked]), len(told) - 1)
        same = told["address"][place] == links["address"][asked]
        links["number"][asked[same]] = told["number"][place[same]]
    return links
