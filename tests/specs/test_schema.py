"""The schema agrees with that of Cogment Lab 0.1.5, and both can be loaded into one process."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

import cogment_lab.specs
from cogment_lab.specs.generated import data_pb2, ndarray_pb2
from cogment_lab.specs.generated.descriptors import FILE_DESCRIPTOR_SET
from cogment_lab.specs.pool import POOL

FILES = ["ndarray.proto", "spaces.proto", "data.proto"]
FIRST_OF_OURS = 16


def file_named(name: str) -> FileDescriptorProto:
    file = FileDescriptorProto()
    POOL.FindFileByName(name).CopyToProto(file)
    return file


def without_ours(message: DescriptorProto) -> list[tuple[Any, ...]]:
    fields = [
        (field.name, field.number, field.type, field.label, field.type_name)
        for field in message.field
        if field.number < FIRST_OF_OURS
    ]
    return [message.name, fields, [without_ours(nested) for nested in message.nested_type]]


@pytest.mark.parametrize("name", FILES)
def test_old_messages_have_their_names_numbers_and_types(old: SimpleNamespace, name: str) -> None:
    theirs = next(file for file in old.files if file.name == name)
    ours = file_named(name)
    assert ours.package == theirs.package
    known = {message.name: without_ours(message) for message in ours.message_type}
    for message in theirs.message_type:
        assert known[message.name] == without_ours(message)
    for theirs_enum, ours_enum in zip(theirs.enum_type, ours.enum_type, strict=True):
        assert list(ours_enum.value)[: len(theirs_enum.value)] == list(theirs_enum.value)


def test_equal_names_live_in_two_pools(old: SimpleNamespace) -> None:
    default = descriptor_pool.Default()
    for file in old.files:
        default.AddSerializedFile(file.SerializeToString())
    assert old.Observation.DESCRIPTOR.full_name == data_pb2.Observation.DESCRIPTOR.full_name
    assert old.Observation is not data_pb2.Observation
    assert data_pb2.Observation.DESCRIPTOR.file.pool is POOL


def test_nothing_of_ours_is_in_the_default_pool() -> None:
    code = (
        "import cogment_lab.specs\n"
        "from google.protobuf import descriptor_pool\n"
        "for name in ('cogment_lab.Observation', 'cogment_lab.spaces.SpaceValue'):\n"
        "    try:\n"
        "        descriptor_pool.Default().FindMessageTypeByName(name)\n"
        "    except KeyError:\n"
        "        continue\n"
        "    raise SystemExit(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_enum_of_the_private_pool_is_usable() -> None:
    assert ndarray_pb2.DType.Name(ndarray_pb2.DTYPE_BOOL) == "DTYPE_BOOL"


def test_the_generated_code_is_that_of_the_proto_files(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc")
    folder = Path(cogment_lab.specs.__file__).parent / "protos"
    output = tmp_path / "descriptors.binpb"
    files = sorted(path.name for path in folder.glob("*.proto"))
    assert protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={output}", *files]) == 0
    compiled = FileDescriptorSet.FromString(output.read_bytes())
    assert compiled == FileDescriptorSet.FromString(FILE_DESCRIPTOR_SET)


@pytest.mark.parametrize("name", cogment_lab.specs.__all__)
def test_every_exported_name_exists(name: str) -> None:
    assert getattr(cogment_lab.specs, name).__doc__
