"""The benchmark on MuJoCo, as far as it can be tried on an environment that is always there."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import SAC

import cogment_lab


@pytest.fixture
def benchmark(import_benchmark: Callable[[str], Any]) -> Any:
    return import_benchmark("offline_mujoco")


def test_data_sets_are_what_the_learner_saw_and_what_it_became(
    benchmark: Any, import_benchmark: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "TRIALS", 2)
    model = SAC.load(benchmark.train("Pendulum-v1", 110, tmp_path))  # SAC's first 100 steps are random ones
    benchmark.record_expert("Pendulum-v1", model, tmp_path)
    with cogment_lab.TrialStore(tmp_path / "Pendulum-v1-mixed.db") as store:
        assert [info.n_ticks for info in store.trials()] == [110]
    with cogment_lab.TrialStore(tmp_path / "Pendulum-v1-expert.db") as store:
        infos = list(store.trials())
        played = store.load(infos[0].trial_id)["gym"]
    assert [info.n_ticks for info in infos] == [200, 200]
    np.testing.assert_allclose(
        benchmark.acting(model)(played.observations[:5]), played.actions[:5], atol=1e-5
    )
    score = import_benchmark("offline").learn("Pendulum-v1", "mixed", "BC", 1, tmp_path, 10)
    assert -2000 < score < 0 and -2000 < benchmark.random_return("Pendulum-v1") < 0


def test_what_is_there_is_not_made_again(benchmark: Any, tmp_path: Path) -> None:
    path = benchmark.train("Pendulum-v1", 20, tmp_path)
    assert benchmark.train("Pendulum-v1", 10**9, tmp_path) == path
    assert SAC.load(path).num_timesteps == 20


def test_a_missing_mujoco_is_one_line(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "mujoco" else find_spec(name, *rest)
    )
    monkeypatch.setattr(sys, "argv", ["offline_mujoco.py"])
    with pytest.raises(SystemExit, match="1"):
        benchmark.main()
    assert capsys.readouterr().err == 'MuJoCo is not installed here: pip install "gymnasium[mujoco]"\n'
