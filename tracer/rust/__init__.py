"""What Rust laid out in a binary: its poll functions, where their arguments, state and exits are."""

from tracer.rust.binary import read_binary
from tracer.rust.cache import Cache
from tracer.rust.demangle import demangle

__all__ = ["Cache", "demangle", "read_binary"]
