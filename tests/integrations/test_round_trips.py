"""Trials come back from each format as they were, whatever their spaces are."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pettingzoo
import pyarrow.parquet as pq
import pytest
from cogment_lab.integrations.minari import from_minari, to_minari, to_minari_by_agent
from cogment_lab.integrations.npz import from_npz, to_npz
from cogment_lab.integrations.tables import leaves, to_csv, to_parquet
from gymnasium import spaces
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from round_trip import assert_same, assert_same_trials, record_random

import cogment_lab
from cogment_lab.errors import ConfigurationError
from cogment_lab.store import AgentSpec, TrialStore

DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int16", "int64", "uint32")
SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 2), (1, 2, 1))
KEYS = ("a", "b", "long name", "käse")
ODD_KEYS = (*KEYS, "a.b", "x/y", "50%")


def box(dtype: str, shape: tuple[int, ...]) -> spaces.Box:
    if dtype.startswith("float"):
        return spaces.Box(-np.inf, np.inf, shape, np.dtype(dtype).type)
    info = np.iinfo(dtype)
    return spaces.Box(max(info.min, -(2**40)), min(info.max, 2**40), shape, np.dtype(dtype).type)


LEAVES = st.one_of(
    st.builds(spaces.Discrete, st.integers(1, 5), start=st.integers(-3, 3)),
    st.builds(spaces.MultiBinary, st.sampled_from((1, 4, (2, 3)))),
    st.builds(spaces.MultiDiscrete, st.lists(st.integers(1, 4), min_size=1, max_size=3)),
    st.builds(box, st.sampled_from(DTYPES), st.sampled_from(SHAPES)),
    st.builds(spaces.Text, st.integers(1, 8)),
)


def nested(keys: tuple[str, ...]) -> st.SearchStrategy[Any]:
    return st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.dictionaries(st.sampled_from(keys), inner, min_size=1, max_size=3).map(spaces.Dict),
            st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
        ),
        max_leaves=4,
    )


LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=3)
MODEST = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@MODEST
@given(nested(ODD_KEYS), nested(ODD_KEYS), LENGTHS, st.integers(0, 2**20))
def test_npz(observed: Any, acted: Any, lengths: list[int], seed: int) -> None:
    path = Path("some.npz")
    path.unlink(missing_ok=True)
    with TrialStore(":memory:") as store, TrialStore(":memory:") as again:
        record_random(store, AgentSpec(observed, acted), lengths, seed)
        assert to_npz(store.query(), path) == len(lengths)
        from_npz(path, again)
        assert again.query().spaces() == AgentSpec(observed, acted)
        assert_same_trials(again, store)


@settings(MODEST, max_examples=8)
@given(nested(KEYS), nested(KEYS), LENGTHS, st.integers(0, 2**20))
def test_minari(observed: Any, acted: Any, lengths: list[int], seed: int) -> None:
    with TrialStore(":memory:") as store, TrialStore(":memory:") as again:
        record_random(store, AgentSpec(observed, acted), lengths, seed)
        name = f"round/n{len(list(Path('minari').glob('round/*')))}-v0"
        from_minari(to_minari(store, name), again)
        assert_same_trials(again, store)


CHOSEN = (
    "ticks", "observations", "actions", "proposed_actions", "next_observations", "rewards", "terminated",
    "continues", "has_successor", "is_intervention", "decided_by", "phase", "infos", "feedback",
)  # fmt: skip


@settings(MODEST, max_examples=10)
@given(
    nested(KEYS),
    nested(KEYS),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.integers(0, 2**20),
    st.sampled_from(("interventions", "autonomous")),
)
def test_chosen_ticks_keep_their_own_successors(
    observed: Any, acted: Any, lengths: list[int], seed: int, only: Any
) -> None:
    path = Path("some.npz")
    path.unlink(missing_ok=True)
    name = f"chosen/n{len(list(Path('minari').glob('chosen/*')))}-v0"
    with TrialStore(":memory:") as store:
        record_random(store, AgentSpec(observed, acted), lengths, seed)
        query = store.query(only=only)
        chosen = list(query)
        assume(chosen)
        to_npz(query, path)
        for read, source in ((from_npz, path), (from_minari, to_minari(store, name, only=only))):
            with TrialStore(":memory:") as again:
                read(source, again)
                for found, wanted in zip(again.query(), chosen, strict=True):
                    for field in CHOSEN:
                        assert_same(getattr(found, field), getattr(wanted, field))
                steps = sum(map(len, again.transitions()))
                assert steps == sum(map(len, chosen))


@settings(MODEST, max_examples=8)
@given(nested(ODD_KEYS), nested(ODD_KEYS), LENGTHS, st.integers(0, 2**20))
def test_numbers_in_tables_read_back_as_the_same(
    observed: Any, acted: Any, lengths: list[int], seed: int
) -> None:
    for name in ("some.csv", "some.parquet"):
        Path(name).unlink(missing_ok=True)
    with TrialStore(":memory:") as store:
        record_random(store, AgentSpec(observed, acted), lengths, seed)
        assert to_csv(store.query(), Path("some.csv")) == to_parquet(store.query(), Path("some.parquet"))
        data = store.query().load()
    with Path("some.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    table = pq.read_table("some.parquet")
    assert len(lines) == len(table) == sum(lengths)
    for name in ("observations", "actions", "proposed_actions"):
        for key, leaf in leaves(getattr(data, name)):
            if isinstance(leaf, list):
                assert [line[f"{name}{key}"] for line in lines] == leaf == table[f"{name}{key}"].to_pylist()
                continue
            columns = math.prod(leaf.shape[1:])
            for index, column in enumerate(leaf.reshape(len(leaf), columns).T):
                title = f"{name}{key}.{index}" if leaf.ndim > 1 else f"{name}{key}"
                np.testing.assert_array_equal(table[title].to_numpy(), column)
                assert table[title].to_numpy().dtype == column.dtype
                parse = float if column.dtype.kind == "f" else int
                found = np.array([parse(line[title]) for line in lines]).astype(column.dtype)
                np.testing.assert_array_equal(found, column)
    assert [float(line["rewards"]) for line in lines] == data.rewards.tolist()


def test_what_has_no_size_is_named() -> None:
    with TrialStore(":memory:") as store:
        record_random(store, AgentSpec(spaces.Sequence(spaces.Discrete(3)), spaces.Discrete(2)), [3], 1)
        with pytest.raises(ConfigurationError, match=r"observations has values without a fixed size"):
            to_npz(store.query(), Path("some.npz"))
    assert not Path("some.npz").exists()


@pytest.mark.parametrize("kind", ["npz", "minari"])
def test_agents_of_one_trial_are_joined_again(kind: str) -> None:
    spec = AgentSpec(spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3))
    with TrialStore(":memory:") as store, TrialStore(":memory:") as again, TrialStore(":memory:") as one:
        record_random(store, spec, [3, 5, 1], 7, "red", "blue")
        if kind == "minari":
            datasets = to_minari_by_agent(store, "two/agents-v0")
            from_minari(list(datasets.values()), again)
            from_minari(datasets["blue"].id, one)
        else:
            for agent in ("red", "blue"):
                to_npz(store.query(agent=agent), Path(f"{agent}.npz"))
            from_npz([Path("red.npz"), Path("blue.npz")], again)
            from_npz(Path("blue.npz"), one)
        assert_same_trials(again, store)
        assert [info.agents for info in one.trials()] == [("blue",)] * 3
        wanted = store.load("t1")["blue"]
        np.testing.assert_array_equal(one.load("t1")["blue"].observations, wanted.observations)


@pytest.mark.parametrize("kind", ["aec", "parallel"])
def test_pettingzoo_trials_come_back_with_their_agents(kind: str, cogmentlab_in: Any) -> None:
    env = pettingzoo.make(kind, "classic/rps-v2", max_cycles=4)
    actors = {"player_0": lambda observation: 0, "player_1": lambda observation: 2}
    cogment_lab.run(env, actors, 2, seed=3, store="rps.db", properties={"study": "rps"})
    cogmentlab_in("export", "rps.db", "--to", "minari", "--id", "rps/game-v0")
    cogmentlab_in("import", "rps/game-player_0-v0", "rps/game-player_1-v0", "minari.db")
    cogmentlab_in("export", "rps.db", "--to", "npz", "--id", "game")
    cogmentlab_in("import", "game-player_0.npz", "game-player_1.npz", "npz.db")
    with TrialStore("rps.db") as wanted:
        for name in ("minari.db", "npz.db"):
            with TrialStore(name) as found:
                assert_same_trials(found, wanted)
    cogmentlab_in("import", "game-player_0.npz", "game-player_1.npz", "npz.db")
    with TrialStore("npz.db") as found:
        assert len(found) == 4, "ids that are taken get a suffix"


def test_much_feedback_fits_into_minari() -> None:
    from cogment_lab.humans.simulated import SimulatedEvaluator

    actors = {
        "gym": lambda observation: np.zeros(1, np.float32),
        "evaluator": SimulatedEvaluator(lambda tick: 0.123456789 * (tick.number + 1)),
    }
    with TrialStore("long.db") as store, TrialStore("again.db") as again:
        cogment_lab.run("Pendulum-v1", actors, 1, seed=1, store=store, max_episode_steps=3000)
        (data,) = store.query()
        assert len(data.feedback) > 2000
        from_minari(to_minari(store, "long-v0"), again)
        assert_same_trials(again, store)
