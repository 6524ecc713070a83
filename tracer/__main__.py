"""`python -m tracer` is `rat-ebpf`."""

import sys

from tracer.cli import main

sys.exit(main())
