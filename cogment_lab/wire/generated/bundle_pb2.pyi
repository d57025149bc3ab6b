# Made by scripts/generate_protos.py from cogment_lab/wire/protos. Do not edit.
from cogment_lab.wire.generated import common_pb2 as _common_pb2
from cogment_lab.wire.generated import datalog_pb2 as _datalog_pb2
from cogment_lab.wire.generated import environment_pb2 as _environment_pb2
from cogment_lab.wire.generated import trial_datastore_pb2 as _trial_datastore_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union


class ActorInputs(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_common_pb2.ActorRunTrialInput]
    def __init__(self, frames: _Optional[_Iterable[_Union[_common_pb2.ActorRunTrialInput, _Mapping[str, _Any]]]] = ...) -> None: ...

class ActorOutputs(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_common_pb2.ActorRunTrialOutput]
    def __init__(self, frames: _Optional[_Iterable[_Union[_common_pb2.ActorRunTrialOutput, _Mapping[str, _Any]]]] = ...) -> None: ...

class EnvInputs(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_environment_pb2.EnvRunTrialInput]
    def __init__(self, frames: _Optional[_Iterable[_Union[_environment_pb2.EnvRunTrialInput, _Mapping[str, _Any]]]] = ...) -> None: ...

class EnvOutputs(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_environment_pb2.EnvRunTrialOutput]
    def __init__(self, frames: _Optional[_Iterable[_Union[_environment_pb2.EnvRunTrialOutput, _Mapping[str, _Any]]]] = ...) -> None: ...

class DatalogInputs(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_datalog_pb2.RunTrialDatalogInput]
    def __init__(self, frames: _Optional[_Iterable[_Union[_datalog_pb2.RunTrialDatalogInput, _Mapping[str, _Any]]]] = ...) -> None: ...

class SampleReplies(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[_trial_datastore_pb2.RetrieveSampleReply]
    def __init__(self, frames: _Optional[_Iterable[_Union[_trial_datastore_pb2.RetrieveSampleReply, _Mapping[str, _Any]]]] = ...) -> None: ...
