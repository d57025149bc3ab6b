# Made by scripts/generate_protos.py from cogment_lab/wire/protos. Do not edit.
from cogment_lab.wire.generated import common_pb2 as _common_pb2
from google.protobuf import descriptor as _descriptor
from typing import Any as _Any, ClassVar as _ClassVar

