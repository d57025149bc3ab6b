"""Comparison that forgives nothing, and the message types of Cogment Lab 0.1.5."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from gymnasium import spaces

ARRAY, SPACE = ".cogment_lab.nd_array.Array", ".cogment_lab.spaces.Space"
SPECS, VALUE = ".cogment_lab.AgentSpecs", ".cogment_lab.Value"

# The schema of 0.1.5: file -> message -> "number name type"; "*" is repeated, "?" optional, "|" in a oneof.
DTYPES = "UNKNOWN FLOAT32 FLOAT64 INT8 INT32 INT64 UINT8 STRING"
SCHEMA: dict[tuple[str, str, tuple[str, ...]], dict[str, list[str]]] = {
    ("ndarray.proto", "cogment_lab.nd_array", ()): {
        "Array": [
            "1 dtype .cogment_lab.nd_array.DType",
            "2 shape *uint32",
            "3 raw_data bytes",
            "4 npy_data bytes",
            "5 double_data *double",
            "6 int32_data *sint32",
            "7 int64_data *sint64",
            "8 uint32_data *uint32",
            "9 string_data *string",
        ]
    },
    ("spaces.proto", "cogment_lab.spaces", ("ndarray.proto",)): {
        "Discrete": ["1 n int32", "2 start int32"],
        "Box": [f"2 low {ARRAY}", f"3 high {ARRAY}"],
        "MultiBinary": [f"1 n {ARRAY}"],
        "MultiDiscrete": [f"1 nvec {ARRAY}"],
        "Dict": ["1 spaces *.cogment_lab.spaces.Dict.SubSpace"],
        "Dict.SubSpace": ["1 key string", f"2 space {SPACE}"],
        "Text": ["1 max_length int32", "2 min_length int32", "3 charset string"],
        "Space": [
            "1 discrete |.cogment_lab.spaces.Discrete",
            "2 box |.cogment_lab.spaces.Box",
            "3 dict |.cogment_lab.spaces.Dict",
            "4 multi_binary |.cogment_lab.spaces.MultiBinary",
            "5 multi_discrete |.cogment_lab.spaces.MultiDiscrete",
            "6 text |.cogment_lab.spaces.Text",
        ],
    },
    ("data.proto", "cogment_lab", ("ndarray.proto", "spaces.proto")): {
        "EnvironmentSpecs": [
            "1 implementation string",
            "2 turn_based bool",
            "3 num_players int32",
            f"4 observation_space {SPACE}",
            f"5 action_space {SPACE}",
            "6 web_components_file string",
        ],
        "AgentSpecs": [f"1 observation_space {SPACE}", f"2 action_space {SPACE}"],
        "Value": ["1 string_value |string", "2 int_value |int32", "3 float_value |float"],
        "EnvironmentConfig": [
            "1 run_id string",
            "2 render bool",
            "3 render_width int32",
            "4 seed uint32",
            "5 flatten bool",
            "6 reset_args *.cogment_lab.EnvironmentConfig.ResetArgsEntry",
        ],
        "EnvironmentConfig.ResetArgsEntry": ["1 key string", f"2 value {VALUE}"],
        "HFHubModel": ["1 repo_id string", "2 filename string"],
        "AgentConfig": [
            "1 run_id string",
            f"2 agent_specs {SPECS}",
            "3 seed uint32",
            "4 model_id string",
            "5 model_iteration int32",
            "6 model_update_frequency int32",
        ],
        "TrialConfig": [],
        "Observation": [f"1 value {ARRAY}", "2 active bool", "3 alive bool", "4 rendered_frame ?bytes"],
        "PlayerAction": [f"1 value {ARRAY}"],
    },
}
ONEOFS = {"Space": "kind", "Value": "value_type", "Observation": "_rendered_frame"}


def old_field(line: str) -> FieldDescriptorProto:
    number, name, kind = line.split()
    mark, kind = (kind[0], kind[1:]) if kind[0] in "*?|" else ("", kind)
    field = FieldDescriptorProto(name=name, number=int(number), label="LABEL_REPEATED" if mark == "*" else 1)
    if kind.startswith("."):
        field.type = field.TYPE_ENUM if kind.endswith("DType") else field.TYPE_MESSAGE
        field.type_name = kind
    else:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    if mark in ("?", "|"):
        field.oneof_index = 0
    if mark == "?":
        field.proto3_optional = True
    return field


def old_files() -> list[FileDescriptorProto]:
    """Return the files of 0.1.5, byte for byte as its generated code holds them."""
    files = []
    for (name, package, imports), messages in SCHEMA.items():
        file = FileDescriptorProto(name=name, package=package, dependency=imports, syntax="proto3")
        built: dict[str, DescriptorProto] = {}
        for path, lines in messages.items():
            outer, _, inner = path.rpartition(".")
            built[path] = built[outer].nested_type.add() if outer else file.message_type.add()
            built[path].name = inner
            built[path].field.extend(old_field(line) for line in lines)
            if inner in ONEOFS:
                built[path].oneof_decl.add(name=ONEOFS[inner])
            if inner == "ResetArgsEntry":
                built[path].options.map_entry = True
        if name == "ndarray.proto":
            enum = file.enum_type.add(name="DType")
            for number, value in enumerate(DTYPES.split()):
                enum.value.add(name=f"DTYPE_{value}", number=number)
        files.append(file)
    return files


@pytest.fixture(scope="session")
def old() -> SimpleNamespace:
    """The message classes of 0.1.5, in protobuf's default pool."""
    pool = descriptor_pool.Default()
    for file in old_files():
        pool.AddSerializedFile(file.SerializeToString())
    names = [f"{package}.{path}" for (_, package, _), messages in SCHEMA.items() for path in messages]
    found = [pool.FindMessageTypeByName(name) for name in names]
    return SimpleNamespace(
        files=old_files(),
        **{kind.name: message_factory.GetMessageClass(kind) for kind in found if not kind.containing_type},
    )


def are_same(left: Any, right: Any) -> bool:
    """Return whether two values are equal in types, dtypes, shapes and bits."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray | np.generic):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(are_same(left[key], right[key]) for key in left)
    if isinstance(left, tuple | list):
        return len(left) == len(right) and all(map(are_same, left, right))
    return bool(left == right)


def are_same_spaces(left: spaces.Space[Any], right: spaces.Space[Any]) -> bool:
    """Return whether two spaces are equal in all that decides what they contain and draw."""
    if (
        type(left) is not type(right)
        or left != right
        or left.dtype != right.dtype
        or left.shape != right.shape
    ):
        return False
    match left:
        case spaces.Box():
            names = ("low", "high", "bounded_below", "bounded_above")
            pairs = [(np.asarray(getattr(left, name)), np.asarray(getattr(right, name))) for name in names]
            return all(are_same(*pair) for pair in pairs)
        case spaces.Discrete():
            return are_same(left.n, right.n) and are_same(left.start, right.start)
        case spaces.MultiDiscrete():
            return are_same(left.nvec, right.nvec) and are_same(left.start, right.start)
        case spaces.MultiBinary():
            return are_same(left.n, right.n)
        case spaces.Text():
            return left.character_list == right.character_list
        case spaces.Dict():
            items = all(are_same_spaces(left[key], right[key]) for key in left)
            return items and list(left) == list(right) and left.sort_keys == right.sort_keys
        case spaces.Tuple() | spaces.OneOf():
            return all(map(are_same_spaces, left.spaces, right.spaces))
        case spaces.Sequence():
            return are_same_spaces(left.feature_space, right.feature_space)
        case spaces.Graph():
            pairs = ((left.node_space, right.node_space), (left.edge_space, right.edge_space))
            return all(a is b is None or are_same_spaces(a, b) for a, b in pairs)
    raise AssertionError(left)


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    return are_same


@pytest.fixture(scope="session")
def same_space() -> Callable[[Any, Any], bool]:
    return are_same_spaces
