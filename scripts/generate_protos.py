"""Compile the ``.proto`` files of ``cogment_lab/specs`` and ``cogment_lab/wire`` into ``generated`` packages.

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

PACKAGE = Path(__file__).resolve().parents[1] / "cogment_lab"
WELL_KNOWN = Path(protoc.__file__).parent / "_proto"
PARTS = {
    "specs": ("cogment_lab.specs.pool", "Message classes of Cogment Lab, made by protoc."),
    "wire": ("cogment_lab.wire.pool", "Message classes of Cogment's API, made by protoc."),
}


def compile_protos(protos: Path, folder: Path) -> FileDescriptorSet:
    """Run protoc, leaving its ``.pyi`` files in ``folder``; return the descriptors, dependencies first."""
    descriptors = folder / "descriptors.binpb"
    files = sorted(path.relative_to(protos).as_posix() for path in protos.rglob("*.proto"))
    outputs = [f"--pyi_out={folder}", f"--descriptor_set_out={descriptors}"]
    if protoc.main(["protoc", f"-I{protos}", f"-I{WELL_KNOWN}", *outputs, *files]) != 0:
        sys.exit("protoc failed; see its messages above")
    return FileDescriptorSet.FromString(descriptors.read_bytes())


def class_module(part: str, stub: str, package: str) -> str:
    """Return the ``_pb2.py`` that belongs to a ``.pyi`` of protoc."""
    pool, _ = PARTS[part]
    messages = re.findall(r"^class (\w+)\(_message\.Message\)", stub, re.MULTILINE)
    enums = re.findall(r"^class (\w+)\(int, metaclass", stub, re.MULTILINE)
    values = re.findall(r"^(\w+): (\w+)$", stub, re.MULTILINE)
    names = [name for name, used in (("enum", enums), ("message", messages)) if used]
    header = f"# Made by scripts/generate_protos.py from cogment_lab/{part}/protos. Do not edit.\n"
    lines = [f"from {pool} import {', '.join(names)}", ""] if names else []
    lines += [f'{name} = message("{package}.{name}")' for name in messages]
    lines += [f'{name} = enum("{package}.{name}")' for name in enums]
    lines += [f'{name} = {kind}.Value("{name}")' for name, kind in values if kind in enums]
    return header + "\n".join(lines) + "\n"


def typed(part: str, stub: str) -> str:
    """Return protoc's stub with imports inside the package, no file descriptor, strictly typed."""
    generated = f"cogment_lab.{part}.generated"
    stub = stub.replace("DESCRIPTOR: _descriptor.FileDescriptor\n", "")
    stub = re.sub(r"(?m)^import (\w+_pb2) as", rf"from {generated} import \1 as", stub)
    stub = re.sub(r"(?m)^from (?!google)[\w.]+ import (\w+_pb2) as", rf"from {generated} import \1 as", stub)
    stub = stub.replace("_Mapping]", "_Mapping[str, _Any]]")
    header = f"# Made by scripts/generate_protos.py from cogment_lab/{part}/protos. Do not edit.\n"
    return header + stub.replace("from typing import ", "from typing import Any as _Any, ")


def generate(part: str) -> None:
    """Write the generated package of ``specs`` or ``wire``."""
    generated = PACKAGE / part / "generated"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        descriptors = compile_protos(PACKAGE / part / "protos", folder)
        for file in descriptors.file:
            stub = (folder / file.name).with_name(Path(file.name).stem + "_pb2.pyi").read_text()
            name = Path(file.name).stem + "_pb2"
            (generated / f"{name}.pyi").write_text(typed(part, stub))
            (generated / f"{name}.py").write_text(class_module(part, stub, file.package))
    data = descriptors.SerializeToString(deterministic=True)
    chunks = "\n".join(f"    {data[start : start + 24]!r}" for start in range(0, len(data), 24))
    header = f"# Made by scripts/generate_protos.py from cogment_lab/{part}/protos. Do not edit.\n"
    (generated / "descriptors.py").write_text(f"{header}FILE_DESCRIPTOR_SET = (\n{chunks}\n)\n")
    (generated / "__init__.py").write_text(f'"""{PARTS[part][1]}"""\n')


if __name__ == "__main__":
    for name in PARTS:
        generate(name)
