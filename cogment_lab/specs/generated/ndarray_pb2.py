# Made by scripts/generate_protos.py from cogment_lab/specs/protos. Do not edit.
from cogment_lab.specs.pool import enum, message

Array = message("cogment_lab.nd_array.Array")
DType = enum("cogment_lab.nd_array.DType")
DTYPE_UNKNOWN = DType.Value("DTYPE_UNKNOWN")
DTYPE_FLOAT32 = DType.Value("DTYPE_FLOAT32")
DTYPE_FLOAT64 = DType.Value("DTYPE_FLOAT64")
DTYPE_INT8 = DType.Value("DTYPE_INT8")
DTYPE_INT32 = DType.Value("DTYPE_INT32")
DTYPE_INT64 = DType.Value("DTYPE_INT64")
DTYPE_UINT8 = DType.Value("DTYPE_UINT8")
DTYPE_STRING = DType.Value("DTYPE_STRING")
DTYPE_BOOL = DType.Value("DTYPE_BOOL")
DTYPE_FLOAT16 = DType.Value("DTYPE_FLOAT16")
DTYPE_INT16 = DType.Value("DTYPE_INT16")
DTYPE_UINT16 = DType.Value("DTYPE_UINT16")
DTYPE_UINT32 = DType.Value("DTYPE_UINT32")
DTYPE_UINT64 = DType.Value("DTYPE_UINT64")
