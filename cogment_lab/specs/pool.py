"""The descriptor pool that holds this package's message types under their real names.

It is not protobuf's default pool, so that the generated code of the official packages, which registers the
same names there, can be loaded into the same process. Messages cross from one to the other as bytes.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from cogment_lab.specs.generated.descriptors import FILE_DESCRIPTOR_SET

__all__ = ["POOL", "add_files", "enum", "message"]

POOL = DescriptorPool()


def add_files(file_descriptor_set: bytes) -> None:
    """Add the files of a serialized ``FileDescriptorSet`` (dependencies first) to the pool."""
    for file in FileDescriptorSet.FromString(file_descriptor_set).file:
        POOL.AddSerializedFile(file.SerializeToString())


def message(full_name: str) -> Any:
    """Return the class of a message type; the generated ``.pyi`` files say what each looks like."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(full_name))


def enum(full_name: str) -> Any:
    """Return the wrapper of an enum type (``Name``, ``Value``, ``items``)."""
    return EnumTypeWrapper(POOL.FindEnumTypeByName(full_name))


add_files(FILE_DESCRIPTOR_SET)
