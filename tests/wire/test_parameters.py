"""Trial and actor parameters with typed configurations."""

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

import cogment_lab.wire as cogment
from cogment_lab.wire.settings import LAB_SETTINGS


def actor(settings, name="alice", **more):
    return cogment.ActorParameters(settings, "player", name=name, **more)


def test_everything_survives_serialisation(settings):
    full = cogment.TrialParameters(
        settings,
        config=StringValue(value="c"),
        properties={"a": "b"},
        max_steps=7,
        max_inactivity=30,
        nb_buffered_ticks=5,
        datalog_endpoint="grpc://log:1",
        datalog_exclude_fields=["messages", "info"],
        environment_config=Int64Value(value=3),
        environment_name="world",
        environment_endpoint="grpc://env:1",
        environment_implementation="lunar",
        actors=[
            actor(
                settings,
                endpoint="grpc://a:1",
                implementation="dqn",
                config=StringValue(value="x"),
                initial_connection_timeout=1.5,
                response_timeout=2,
                optional=True,
                default_action=Int64Value(value=0),
            )
        ],
    )
    copied = cogment.TrialParameters(settings)
    copied.deserialize(full.serialize(), full.get_serialization_type())
    names = [name for name in dir(full) if not name.startswith("_") and not callable(getattr(full, name))]
    empty = cogment.TrialParameters(settings)
    for name in set(names) - {"actors"}:
        assert getattr(copied, name) == getattr(full, name) != getattr(empty, name), name
    assert dict(copied.properties) == {"a": "b"}
    one = copied.actors["alice"]
    assert (one.endpoint, one.implementation, one.optional) == ("grpc://a:1", "dqn", True)
    assert (one.initial_connection_timeout, one.response_timeout) == (1.5, 2.0)
    assert (one.config, one.default_action) == (StringValue(value="x"), Int64Value(value=0))
    assert one.default_action_serialized == b""
    assert (one.class_name, one.actor_class, one.actor_class_spec.name) == ("player",) * 3


def test_none_clears(settings):
    parameters = cogment.TrialParameters(settings, config=StringValue(), max_steps=3, properties={"a": "b"})
    parameters.config = parameters.max_steps = parameters.properties = parameters.actors = None
    assert (parameters.config, parameters.max_steps, dict(parameters.properties)) == (None, 0, {})
    one = actor(settings, config=StringValue(), default_action=Int64Value(), optional=True)
    one.config = one.default_action = one.optional = one.name = None
    assert (one.config, one.default_action, one.optional, one.name) == (None, None, False, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_steps", "3"),
        ("max_steps", True),
        ("max_steps", -1),
        ("environment_name", 3),
        ("environment_config", StringValue()),
        ("config", Int64Value()),
        ("config_serialized", "text"),
        ("datalog_exclude_fields", "info"),
        ("actors", ["alice"]),
        ("speed", 3),
        ("serialize", 3),
        ("_raw_params", 3),
    ],
)
def test_wrong_values_are_errors(settings, name, value):
    with pytest.raises(cogment.CogmentError):
        cogment.TrialParameters(settings, **{name: value})


def test_actor_needs_a_class_that_stays(settings):
    with pytest.raises(cogment.CogmentError, match="class"):
        cogment.ActorParameters(settings, name="alice")
    one = cogment.ActorParameters(settings, actor_class="player")
    for attribute in ("actor_class", "class_name"):
        with pytest.raises(cogment.CogmentError):
            setattr(one, attribute, "judge")
    with pytest.raises(cogment.CogmentError, match="pilot"):
        _ = cogment.ActorParameters(settings, "pilot").actor_class_spec
    with pytest.raises(cogment.CogmentError, match="default_action"):
        one.default_action = StringValue()


def test_without_settings_configurations_are_bytes():
    parameters = cogment.TrialParameters(None, config=Int64Value(value=1))
    assert not parameters.has_specs()
    assert parameters.config_serialized == b"\x08\x01"
    with pytest.raises(cogment.CogmentError, match="settings"):
        _ = parameters.config
    one = cogment.ActorParameters(None, "player")
    one.actor_class = "judge"
    assert one.actor_class == "judge"


def test_actors_are_like_a_list_of_views(settings):
    parameters = cogment.TrialParameters(settings)
    parameters.actors.append(actor(settings, "a"))
    parameters.actors.extend([actor(settings, "b"), actor(settings, "c")])
    assert len(parameters.actors) == 3
    parameters.actors[0].name = "z"
    assert [one.name for one in parameters.actors] == ["z", "b", "c"]
    assert [one.name for one in parameters.actors[1:]] == ["b", "c"]
    parameters.actors[1] = actor(settings, "y")
    del parameters.actors[2]
    assert [one.name for one in parameters.actors] == ["z", "y"]
    parameters.actors = list(parameters.actors)[::-1]
    assert [one.name for one in parameters.actors] == ["y", "z"]
    with pytest.raises(cogment.CogmentError, match="nobody"):
        _ = parameters.actors["nobody"]
    with pytest.raises(IndexError):
        _ = parameters.actors[2]
    parameters.actors.clear()
    assert len(parameters.actors) == 0


def test_lab_settings_take_its_messages():
    player = LAB_SETTINGS.actor_classes["player"]
    assert "player" in LAB_SETTINGS.actor_classes
    assert LAB_SETTINGS.actor_classes.player is LAB_SETTINGS.actor_classes.get("player") is player
    config = player.config_type(run_id="r")
    one = cogment.ActorParameters(LAB_SETTINGS, "player", config=config)
    assert one.config == config
