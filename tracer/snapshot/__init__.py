"""The tasks of a live process (or a core dump) at one moment, read from its memory without a probe."""
