# Made by scripts/generate_protos.py from cogment_lab/specs/protos. Do not edit.
from cogment_lab.specs.generated import ndarray_pb2 as _ndarray_pb2
from cogment_lab.specs.generated import spaces_pb2 as _spaces_pb2
from cogment_lab.specs.generated import values_pb2 as _values_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union


class EnvironmentSpecs(_message.Message):
    __slots__ = ("implementation", "turn_based", "num_players", "observation_space", "action_space", "web_components_file")
    IMPLEMENTATION_FIELD_NUMBER: _ClassVar[int]
    TURN_BASED_FIELD_NUMBER: _ClassVar[int]
    NUM_PLAYERS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    WEB_COMPONENTS_FILE_FIELD_NUMBER: _ClassVar[int]
    implementation: str
    turn_based: bool
    num_players: int
    observation_space: _spaces_pb2.Space
    action_space: _spaces_pb2.Space
    web_components_file: str
    def __init__(self, implementation: _Optional[str] = ..., turn_based: _Optional[bool] = ..., num_players: _Optional[int] = ..., observation_space: _Optional[_Union[_spaces_pb2.Space, _Mapping[str, _Any]]] = ..., action_space: _Optional[_Union[_spaces_pb2.Space, _Mapping[str, _Any]]] = ..., web_components_file: _Optional[str] = ...) -> None: ...

class AgentSpecs(_message.Message):
    __slots__ = ("observation_space", "action_space")
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    observation_space: _spaces_pb2.Space
    action_space: _spaces_pb2.Space
    def __init__(self, observation_space: _Optional[_Union[_spaces_pb2.Space, _Mapping[str, _Any]]] = ..., action_space: _Optional[_Union[_spaces_pb2.Space, _Mapping[str, _Any]]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("string_value", "int_value", "float_value")
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    FLOAT_VALUE_FIELD_NUMBER: _ClassVar[int]
    string_value: str
    int_value: int
    float_value: float
    def __init__(self, string_value: _Optional[str] = ..., int_value: _Optional[int] = ..., float_value: _Optional[float] = ...) -> None: ...

class EnvironmentConfig(_message.Message):
    __slots__ = ("run_id", "render", "render_width", "seed", "flatten", "reset_args", "exact_seed", "reset_options_json")
    class ResetArgsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping[str, _Any]]] = ...) -> None: ...
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RENDER_FIELD_NUMBER: _ClassVar[int]
    RENDER_WIDTH_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FLATTEN_FIELD_NUMBER: _ClassVar[int]
    RESET_ARGS_FIELD_NUMBER: _ClassVar[int]
    EXACT_SEED_FIELD_NUMBER: _ClassVar[int]
    RESET_OPTIONS_JSON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    render: bool
    render_width: int
    seed: int
    flatten: bool
    reset_args: _containers.MessageMap[str, Value]
    exact_seed: int
    reset_options_json: str
    def __init__(self, run_id: _Optional[str] = ..., render: _Optional[bool] = ..., render_width: _Optional[int] = ..., seed: _Optional[int] = ..., flatten: _Optional[bool] = ..., reset_args: _Optional[_Mapping[str, Value]] = ..., exact_seed: _Optional[int] = ..., reset_options_json: _Optional[str] = ...) -> None: ...

class HFHubModel(_message.Message):
    __slots__ = ("repo_id", "filename")
    REPO_ID_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    repo_id: str
    filename: str
    def __init__(self, repo_id: _Optional[str] = ..., filename: _Optional[str] = ...) -> None: ...

class AgentConfig(_message.Message):
    __slots__ = ("run_id", "agent_specs", "seed", "model_id", "model_iteration", "model_update_frequency", "exact_seed")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_SPECS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_ITERATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_UPDATE_FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    EXACT_SEED_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    agent_specs: AgentSpecs
    seed: int
    model_id: str
    model_iteration: int
    model_update_frequency: int
    exact_seed: int
    def __init__(self, run_id: _Optional[str] = ..., agent_specs: _Optional[_Union[AgentSpecs, _Mapping[str, _Any]]] = ..., seed: _Optional[int] = ..., model_id: _Optional[str] = ..., model_iteration: _Optional[int] = ..., model_update_frequency: _Optional[int] = ..., exact_seed: _Optional[int] = ...) -> None: ...

class TrialConfig(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Observation(_message.Message):
    __slots__ = ("value", "active", "alive", "rendered_frame", "exact_value", "terminated", "truncated", "reward", "info_json")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    RENDERED_FRAME_FIELD_NUMBER: _ClassVar[int]
    EXACT_VALUE_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    INFO_JSON_FIELD_NUMBER: _ClassVar[int]
    value: _ndarray_pb2.Array
    active: bool
    alive: bool
    rendered_frame: bytes
    exact_value: _values_pb2.SpaceValue
    terminated: bool
    truncated: bool
    reward: float
    info_json: str
    def __init__(self, value: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ..., active: _Optional[bool] = ..., alive: _Optional[bool] = ..., rendered_frame: _Optional[bytes] = ..., exact_value: _Optional[_Union[_values_pb2.SpaceValue, _Mapping[str, _Any]]] = ..., terminated: _Optional[bool] = ..., truncated: _Optional[bool] = ..., reward: _Optional[float] = ..., info_json: _Optional[str] = ...) -> None: ...

class PlayerAction(_message.Message):
    __slots__ = ("value", "exact_value")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXACT_VALUE_FIELD_NUMBER: _ClassVar[int]
    value: _ndarray_pb2.Array
    exact_value: _values_pb2.SpaceValue
    def __init__(self, value: _Optional[_Union[_ndarray_pb2.Array, _Mapping[str, _Any]]] = ..., exact_value: _Optional[_Union[_values_pb2.SpaceValue, _Mapping[str, _Any]]] = ...) -> None: ...
