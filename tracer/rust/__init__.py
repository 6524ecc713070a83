"""What Rust laid out in a binary: its poll functions, where their arguments, state and exits are.

What reads types and code is imported when a binary is met for the first time: it takes longer than a cached answer.
"""

from tracer.rust.apart import read_apart
from tracer.rust.binary import read_binary
from tracer.rust.cache import Cache
from tracer.rust.split import SplitDebug, find_split_debug

__all__ = ["Cache", "SplitDebug", "find_split_debug", "read_apart", "read_binary"]
