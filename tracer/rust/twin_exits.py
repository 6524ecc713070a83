"""Where callers go on after functions whose result only a twin tells.

The running binary chose those places without knowing that there is a result in rax: other values may be in it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracer.model import PollFunction
from tracer.rust.exits import Disassembler
from tracer.rust.returns import Returns
from tracer.rust.scan import CodeScan
from tracer.target.elf import ElfImage


def with_results_kept(
    before: Sequence[PollFunction], functions: Sequence[PollFunction], image: ElfImage
) -> list[PollFunction]:
    """The functions; those that got a result, with places where it is still in rax, or none.

    before: the same functions before they got it.
    """
    told = [
        replace(function, returned=())
        for function, old in zip(functions, before, strict=True)
        if function.returned and function.result != old.result
    ]
    returns = Returns(image, image, CodeScan(image, image), Disassembler())
    again = {function.address: function.returned for function in returns.of(told)}
    return [replace(one, returned=again.get(one.address, one.returned)) for one in functions]
