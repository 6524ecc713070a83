"""What Rust laid out in a binary: its poll functions, where their arguments, state and exits are."""

from tracer.rust.binary import read_binary
from tracer.rust.cache import Cache
from tracer.rust.demangle import demangle
from tracer.rust.split import SplitDebug, find_split_debug
from tracer.rust.twin import BUILD_TWIN, with_twin

__all__ = ["BUILD_TWIN", "Cache", "SplitDebug", "demangle", "find_split_debug", "read_binary", "with_twin"]
