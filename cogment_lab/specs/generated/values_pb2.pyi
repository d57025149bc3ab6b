# Made by scripts/generate_protos.py from cogment_lab/specs/protos. Do not edit.
from cogment_lab.specs.generated import ndarray_pb2 as _ndarray_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union


class SpaceValue(_message.Message):
    __slots__ = ("array", "text", "items", "graph", "choice")
    class Items(_message.Message):
        __slots__ = ("items",)
        ITEMS_FIELD_NUMBER: _ClassVar[int]
        items: _containers.RepeatedCompositeFieldContainer[SpaceValue]
        def __init__(self, items: _Optional[_Iterable[_Union[SpaceValue, _Mapping[str, _Any]]]] = ...) -> None: ...
    class GraphParts(_message.Message):
        __slots__ = ("nodes", "edges", "edge_links")
        NODES_FIELD_NUMBER: _ClassVar[int]
        EDGES_FIELD_NUMBER: _ClassVar[int]
        EDGE_LINKS_FIELD_NUMBER: _ClassVar[int]
        nodes: SpaceValue
        edges: SpaceValue
        edge_links: _ndarray_pb2.Array
        def __init__(self, nodes: _Optional[_Union[SpaceValue, _Mapping[str, _Any]]] = ..., edges: _Optional[_Union[SpaceValue, _Mapping[str, _Any]]] = ..., edge_links: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ...) -> None: ...
    class Choice(_message.Message):
        __slots__ = ("index", "value")
        INDEX_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        index: int
        value: SpaceValue
        def __init__(self, index: _Optional[int] = ..., value: _Optional[_Union[SpaceValue, _Mapping[str, _Any]]] = ...) -> None: ...
    ARRAY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    array: _ndarray_pb2.Array
    text: str
    items: SpaceValue.Items
    graph: SpaceValue.GraphParts
    choice: SpaceValue.Choice
    def __init__(self, array: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ..., text: _Optional[str] = ..., items: _Optional[_Union[SpaceValue.Items, _Mapping[str, _Any]]] = ..., graph: _Optional[_Union[SpaceValue.GraphParts, _Mapping[str, _Any]]] = ..., choice: _Optional[_Union[SpaceValue.Choice, _Mapping[str, _Any]]] = ...) -> None: ...
