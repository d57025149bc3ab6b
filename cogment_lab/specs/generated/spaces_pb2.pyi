# Made by scripts/generate_protos.py from cogment_lab/specs/protos. Do not edit.
from cogment_lab.specs.generated import ndarray_pb2 as _ndarray_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union


class Discrete(_message.Message):
    __slots__ = ("n", "start", "exact")
    N_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    n: int
    start: int
    exact: _ndarray_pb2.Array
    def __init__(self, n: _Optional[int] = ..., start: _Optional[int] = ..., exact: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("low", "high", "unbounded_below", "unbounded_above")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    UNBOUNDED_BELOW_FIELD_NUMBER: _ClassVar[int]
    UNBOUNDED_ABOVE_FIELD_NUMBER: _ClassVar[int]
    low: _ndarray_pb2.Array
    high: _ndarray_pb2.Array
    unbounded_below: _ndarray_pb2.Array
    unbounded_above: _ndarray_pb2.Array
    def __init__(self, low: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ..., high: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ..., unbounded_below: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ..., unbounded_above: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ...) -> None: ...

class MultiBinary(_message.Message):
    __slots__ = ("n", "n_is_tuple")
    N_FIELD_NUMBER: _ClassVar[int]
    N_IS_TUPLE_FIELD_NUMBER: _ClassVar[int]
    n: _ndarray_pb2.Array
    n_is_tuple: bool
    def __init__(self, n: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ..., n_is_tuple: _Optional[bool] = ...) -> None: ...

class MultiDiscrete(_message.Message):
    __slots__ = ("nvec", "start")
    NVEC_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    nvec: _ndarray_pb2.Array
    start: _ndarray_pb2.Array
    def __init__(self, nvec: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ..., start: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ...) -> None: ...

class Dict(_message.Message):
    __slots__ = ("spaces", "unsorted")
    class SubSpace(_message.Message):
        __slots__ = ("key", "space")
        KEY_FIELD_NUMBER: _ClassVar[int]
        SPACE_FIELD_NUMBER: _ClassVar[int]
        key: str
        space: Space
        def __init__(self, key: _Optional[str] = ..., space: _Optional[_Union[Space, _Mapping[str, _Any]]] = ...) -> None: ...
    SPACES_FIELD_NUMBER: _ClassVar[int]
    UNSORTED_FIELD_NUMBER: _ClassVar[int]
    spaces: _containers.RepeatedCompositeFieldContainer[Dict.SubSpace]
    unsorted: bool
    def __init__(self, spaces: _Optional[_Iterable[_Union[Dict.SubSpace, _Mapping[str, _Any]]]] = ..., unsorted: _Optional[bool] = ...) -> None: ...

class Text(_message.Message):
    __slots__ = ("max_length", "min_length", "charset", "long_max_length", "long_min_length", "ordered_charset")
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MIN_LENGTH_FIELD_NUMBER: _ClassVar[int]
    CHARSET_FIELD_NUMBER: _ClassVar[int]
    LONG_MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    LONG_MIN_LENGTH_FIELD_NUMBER: _ClassVar[int]
    ORDERED_CHARSET_FIELD_NUMBER: _ClassVar[int]
    max_length: int
    min_length: int
    charset: str
    long_max_length: int
    long_min_length: int
    ordered_charset: str
    def __init__(self, max_length: _Optional[int] = ..., min_length: _Optional[int] = ..., charset: _Optional[str] = ..., long_max_length: _Optional[int] = ..., long_min_length: _Optional[int] = ..., ordered_charset: _Optional[str] = ...) -> None: ...

class Tuple(_message.Message):
    __slots__ = ("spaces",)
    SPACES_FIELD_NUMBER: _ClassVar[int]
    spaces: _containers.RepeatedCompositeFieldContainer[Space]
    def __init__(self, spaces: _Optional[_Iterable[_Union[Space, _Mapping[str, _Any]]]] = ...) -> None: ...

class Sequence(_message.Message):
    __slots__ = ("feature_space", "stack")
    FEATURE_SPACE_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    feature_space: Space
    stack: bool
    def __init__(self, feature_space: _Optional[_Union[Space, _Mapping[str, _Any]]] = ..., stack: _Optional[bool] = ...) -> None: ...

class Graph(_message.Message):
    __slots__ = ("node_space", "edge_space")
    NODE_SPACE_FIELD_NUMBER: _ClassVar[int]
    EDGE_SPACE_FIELD_NUMBER: _ClassVar[int]
    node_space: Space
    edge_space: Space
    def __init__(self, node_space: _Optional[_Union[Space, _Mapping[str, _Any]]] = ..., edge_space: _Optional[_Union[Space, _Mapping[str, _Any]]] = ...) -> None: ...

class OneOf(_message.Message):
    __slots__ = ("spaces",)
    SPACES_FIELD_NUMBER: _ClassVar[int]
    spaces: _containers.RepeatedCompositeFieldContainer[Space]
    def __init__(self, spaces: _Optional[_Iterable[_Union[Space, _Mapping[str, _Any]]]] = ...) -> None: ...

class Space(_message.Message):
    __slots__ = ("discrete", "box", "dict", "multi_binary", "multi_discrete", "text", "tuple", "sequence", "graph", "one_of")
    DISCRETE_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    DICT_FIELD_NUMBER: _ClassVar[int]
    MULTI_BINARY_FIELD_NUMBER: _ClassVar[int]
    MULTI_DISCRETE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TUPLE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    ONE_OF_FIELD_NUMBER: _ClassVar[int]
    discrete: Discrete
    box: Box
    dict: Dict
    multi_binary: MultiBinary
    multi_discrete: MultiDiscrete
    text: Text
    tuple: Tuple
    sequence: Sequence
    graph: Graph
    one_of: OneOf
    def __init__(self, discrete: _Optional[_Union[Discrete, _Mapping[str, _Any]]] = ..., box: _Optional[_Union[Box, _Mapping[str, _Any]]] = ..., dict: _Optional[_Union[Dict, _Mapping[str, _Any]]] = ..., multi_binary: _Optional[_Union[MultiBinary, _Mapping[str, _Any]]] = ..., multi_discrete: _Optional[_Union[MultiDiscrete, _Mapping[str, _Any]]] = ..., text: _Optional[_Union[Text, _Mapping[str, _Any]]] = ..., tuple: _Optional[_Union[Tuple, _Mapping[str, _Any]]] = ..., sequence: _Optional[_Union[Sequence, _Mapping[str, _Any]]] = ..., graph: _Optional[_Union[Graph, _Mapping[str, _Any]]] = ..., one_of: _Optional[_Union[OneOf, _Mapping[str, _Any]]] = ...) -> None: ...
