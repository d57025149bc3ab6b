"""Compile ``cogment_lab/specs/protos/*.proto`` into ``cogment_lab/specs/generated``.

Writes ``descriptors.py`` (the serialized FileDescriptorSet) and, per file, ``<name>_pb2.py`` with its types
in ``<name>_pb2.pyi``; the classes come from the private pool of ``cogment_lab.specs.pool``. Run it after each
change of a ``.proto`` file: ``python scripts/generate_protos.py`` (needs grpcio-tools).
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

SPECS = Path(__file__).resolve().parents[1] / "cogment_lab" / "specs"
PROTOS = SPECS / "protos"
GENERATED = SPECS / "generated"
HEADER = "# Made by scripts/generate_protos.py from cogment_lab/specs/protos. Do not edit.\n"


def compile_protos(folder: Path) -> FileDescriptorSet:
    """Run protoc, leaving its ``.pyi`` files in ``folder``; return the descriptors, dependencies first."""
    descriptors = folder / "descriptors.binpb"
    files = sorted(path.name for path in PROTOS.glob("*.proto"))
    outputs = [f"--pyi_out={folder}", f"--descriptor_set_out={descriptors}"]
    if protoc.main(["protoc", f"-I{PROTOS}", *outputs, *files]) != 0:
        sys.exit("protoc failed; see its messages above")
    return FileDescriptorSet.FromString(descriptors.read_bytes())


def class_module(stub: str, package: str) -> str:
    """Return the ``_pb2.py`` that belongs to a ``.pyi`` of protoc."""
    messages = re.findall(r"^class (\w+)\(_message\.Message\)", stub, re.MULTILINE)
    enums = re.findall(r"^class (\w+)\(int, metaclass", stub, re.MULTILINE)
    values = re.findall(r"^(\w+): (\w+)$", stub, re.MULTILINE)
    names = [name for name, used in (("enum", enums), ("message", messages)) if used]
    lines = [f"from cogment_lab.specs.pool import {', '.join(names)}", ""]
    lines += [f'{name} = message("{package}.{name}")' for name in messages]
    lines += [f'{name} = enum("{package}.{name}")' for name in enums]
    lines += [f'{name} = {kind}.Value("{name}")' for name, kind in values if kind in enums]
    return HEADER + "\n".join(lines) + "\n"


def typed(stub: str) -> str:
    """Return protoc's stub with imports inside the package, no file descriptor, strictly typed."""
    stub = stub.replace("DESCRIPTOR: _descriptor.FileDescriptor\n", "")
    stub = re.sub(r"(?m)^import (\w+_pb2) as", r"from cogment_lab.specs.generated import \1 as", stub)
    stub = stub.replace("_Mapping]", "_Mapping[str, _Any]]")
    return stub.replace("from typing import ", "from typing import Any as _Any, ")


def main() -> None:
    """Write the generated package."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        descriptors = compile_protos(folder)
        for file in descriptors.file:
            name = file.name.removesuffix(".proto") + "_pb2"
            stub = typed((folder / f"{name}.pyi").read_text())
            (GENERATED / f"{name}.pyi").write_text(HEADER + stub)
            (GENERATED / f"{name}.py").write_text(class_module(stub, file.package))
    data = descriptors.SerializeToString(deterministic=True)
    chunks = "\n".join(f"    {data[start : start + 24]!r}" for start in range(0, len(data), 24))
    (GENERATED / "descriptors.py").write_text(f"{HEADER}FILE_DESCRIPTOR_SET = (\n{chunks}\n)\n")
    (GENERATED / "__init__.py").write_text('"""Message classes of Cogment Lab, made by protoc."""\n')


if __name__ == "__main__":
    main()
