"""The generated modules belong to the .proto files of this tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import descriptor_pb2

from tracer import capture_pb2, pprof_pb2

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("name", "module"), [("capture", capture_pb2), ("pprof", pprof_pb2)])
def test_the_generated_module_is_up_to_date(tmp_path: Path, name: str, module: ModuleType) -> None:
    descriptors = tmp_path / "set"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "proto", f"--descriptor_set_out={descriptors}"]
    subprocess.run([*command, f"{name}.proto"], cwd=ROOT, check=True)
    fresh = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file[0]
    committed = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    for message in fresh.message_type:  # the set spells out names that the module leaves to their default
        for field in message.field:
            field.ClearField("json_name")
        for nested in message.nested_type:
            for field in nested.field:
                field.ClearField("json_name")
    assert committed == fresh


def test_the_script_makes_the_module(tmp_path: Path) -> None:
    subprocess.run(
        [ROOT / "scripts/gen-proto", tmp_path], check=True, env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    )
    for name in ("capture", "pprof"):
        assert "DESCRIPTOR" in (tmp_path / f"{name}_pb2.py").read_text()
        assert (tmp_path / f"{name}_pb2.pyi").read_text() == (ROOT / f"tracer/{name}_pb2.pyi").read_text()
