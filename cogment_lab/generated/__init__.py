"""The messages under the import paths of Cogment Lab 0.1.5, as names and as modules."""

import sys

from cogment_lab.specs.generated import data_pb2, ndarray_pb2, spaces_pb2
from cogment_lab.wire.settings import LAB_SETTINGS as cog_settings

__all__ = ["cog_settings", "data_pb2", "ndarray_pb2", "spaces_pb2"]

for _name in __all__:
    sys.modules[f"{__name__}.{_name}"] = globals()[_name]
