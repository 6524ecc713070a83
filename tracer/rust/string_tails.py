"""Where names begin in a string section: linkers let one be the tail of a longer string.

GNU ld does so at any level, lld from -O2 on: of `Cell<T, S>` then only `*mut Cell<T, S>` is there.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator


def tails(strings: bytes, begin: re.Pattern[bytes], lengths: Container[int]) -> Iterator[tuple[int, str]]:
    """(place, text) of what begins so and goes on to the end of its string.

    begin: does not match NUL.  lengths: of the texts that count, in bytes; all others cost next to nothing.
    """
    end = -1
    for match in begin.finditer(strings):
        place = match.start()
        if place > end:
            end = strings.find(b"\0", place)
            if end < 0:
                return
        if end - place in lengths:
            yield place, strings[place:end].decode("utf-8", "replace")
