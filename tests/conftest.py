"""Settings that all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# The same inputs on every run: a change that breaks a property fails at once and again.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
