"""Cogment's API in the package's private descriptor pool, under its real names.

The official ``cogment`` package registers the same files in protobuf's default pool; these do not collide.
"""

from __future__ import annotations

from google.protobuf import any_pb2

from cogment_lab.specs.pool import POOL, add_files, enum, message
from cogment_lab.wire.generated.descriptors import FILE_DESCRIPTOR_SET

__all__ = ["POOL", "enum", "message"]

POOL.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
add_files(FILE_DESCRIPTOR_SET)
