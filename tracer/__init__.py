"""rat-ebpf: the Rust Async Tracer on eBPF."""

__version__ = "0.1.0"
