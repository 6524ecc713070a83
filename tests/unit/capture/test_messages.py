"""The generated module belongs to the .proto file of this tree."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

from tracer import capture_pb2

ROOT = Path(__file__).parents[3]


def test_the_generated_module_is_up_to_date(tmp_path: Path) -> None:
    descriptors = tmp_path / "set"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "proto", f"--descriptor_set_out={descriptors}"]
    subprocess.run([*command, "capture.proto"], cwd=ROOT, check=True)
    fresh = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file[0]
    committed = descriptor_pb2.FileDescriptorProto.FromString(capture_pb2.DESCRIPTOR.serialized_pb)
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
    made = (tmp_path / "capture_pb2.py").read_text()
    assert importlib.util.find_spec("tracer.capture_pb2") is not None
    assert "rat.capture" in made
    assert (tmp_path / "capture_pb2.pyi").read_text() == (ROOT / "tracer/capture_pb2.pyi").read_text()
