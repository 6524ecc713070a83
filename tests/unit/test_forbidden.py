"""What no file of ours does: run a shell, or load data that can run code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_rooms import FILES, imported

MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "cloudpickle", "multiprocessing", "pty"}
"""multiprocessing speaks pickle."""

CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "np.load", "numpy.load",
    "tempfile.mktemp", "subprocess.getoutput", "subprocess.getstatusoutput",
}  # fmt: skip
EXEC = {"execv", "execve", "execvp", "execvpe", "execl", "execle", "execlp", "spawnv", "spawnl", "posix_spawn"}
LAUNCHER = "target/launch.py"
"""The one file that executes a program: the one that the user typed, with its arguments as a list."""


def name_of(path: Path) -> str:
    return str(path.relative_to(FILES[0].parents[0])) if path.is_relative_to(FILES[0].parents[0]) else path.name


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def problems(path: Path) -> Iterator[str]:
    name = name_of(path)
    for module in imported(path):
        package = module.split(".")[0]
        if package in MODULES:
            yield f"{name} imports {module}"
    for called, node in calls(path):
        keywords = {keyword.arg for keyword in node.keywords}
        if called in CALLS or "shell" in keywords or "allow_pickle" in keywords:
            yield f"{name}:{node.lineno} calls {called}"
        if called.startswith("os.") and called.removeprefix("os.") in EXEC and name != LAUNCHER:
            yield f"{name}:{node.lineno} calls {called}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_no_shell_and_no_pickle(path: Path) -> None:
    assert list(problems(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from pickle import loads",
        "import subprocess\nsubprocess.getoutput('ls')",
        "run('ls', shell=True)",
        "import os\nos.system('ls')",
        "eval('1')",
        "import numpy as np\nnp.load('x')",
        "load('x', allow_pickle=True)",
        "import os\nos.execv('/bin/sh', [])",
    ],
)
def test_they_would_be_found(tmp_path: Path, source: str) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(source)
    assert list(problems(path))
