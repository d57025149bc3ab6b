"""d3rlpy's IQL on the data of ``benchmarks/offline.py``, with the same settings, scores and starts.

d3rlpy requires an older Gymnasium, so that this runs twice: ``export`` where cogment_lab is installed writes
the data of an environment (``--data``) as arrays, and ``learn`` in an environment of d3rlpy's own learns from
them::

    python benchmarks/offline_d3rlpy.py export runs/offline/d3rlpy.npz
    python -m venv runs/d3rlpy && runs/d3rlpy/bin/pip install torch==2.13.0 d3rlpy==2.8.1
    runs/d3rlpy/bin/python benchmarks/offline_d3rlpy.py learn runs/offline/d3rlpy.npz

The last line is one JSON object: the scores of each seed, their mean, and its standard error.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

GAMMA = 0.99


def export(path: Path, env_id: str, kind: str, folder: Path) -> None:
    """Write the arrays, the scale of rewards that our IQL takes, and the returns that are 0 and 100."""
    from cogment_lab.algorithms.offline_data import read_offline_data
    from cogment_lab.integrations.d3rlpy import mdp_arrays
    from offline import player_return, record

    from cogment_lab import TrialStore

    store_path = folder / f"{env_id}-{kind}.db"
    record(env_id, kind, store_path)
    with TrialStore(store_path) as store:
        arrays = mdp_arrays(store.query(), continuous=True)
        spread = float(np.std(read_offline_data(store).returns_to_go(GAMMA)))
    path.parent.mkdir(parents=True, exist_ok=True)
    returns = player_return(env_id, 1.0), player_return(env_id, 0.0)
    np.savez(path, **arrays, env_id=np.array(env_id), reward_scale=10.0 / spread, returns=np.array(returns))
    print(f"{path}: {len(arrays['rewards'])} steps of {env_id}, {kind}")


def learn(path: Path, steps: int, seeds: int) -> dict[str, object]:
    """Learn by d3rlpy's IQL; return normalised scores."""
    import d3rlpy
    from d3rlpy.models.encoders import VectorEncoderFactory
    from d3rlpy.optimizers.lr_schedulers import LRSchedulerFactory
    from torch.optim.lr_scheduler import LambdaLR

    class Falling(LRSchedulerFactory):
        def create(self, optim: Any) -> LambdaLR:
            return LambdaLR(optim, lambda made: max(1.0 - made / steps, 0.0))

        @staticmethod
        def get_type() -> str:
            return "falling"

    with np.load(path) as given:
        columns = ("observations", "actions", "rewards", "terminals", "timeouts")
        dataset = d3rlpy.dataset.MDPDataset(**{name: given[name] for name in columns})
        env_id, scale = str(given["env_id"]), float(given["reward_scale"])
        low, high = given["returns"].tolist()
    space = gym.make(env_id).action_space
    assert isinstance(space, gym.spaces.Box)
    layers = VectorEncoderFactory([64, 64])
    adam = d3rlpy.optimizers.AdamFactory(lr_scheduler_factory=Falling())
    scores = []
    for seed in range(1, seeds + 1):
        d3rlpy.seed(seed)
        model = d3rlpy.algos.IQLConfig(
            actor_learning_rate=2e-3,
            critic_learning_rate=2e-3,
            actor_optim_factory=adam,
            critic_optim_factory=adam,
            batch_size=256,
            gamma=GAMMA,
            tau=0.02,
            expectile=0.8,
            weight_temp=10.0,
            max_weight=100.0,
            actor_encoder_factory=layers,
            critic_encoder_factory=layers,
            value_encoder_factory=layers,
            action_scaler=d3rlpy.preprocessing.MinMaxActionScaler(space.low, space.high),
            reward_scaler=d3rlpy.preprocessing.MultiplyRewardScaler(scale),
        ).create(device="cpu")
        model.fit(
            dataset,
            n_steps=steps,
            n_steps_per_epoch=steps,
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        )
        mean = statistics.fmean(play(env_id, model, start) for start in range(20))
        scores.append(round(100.0 * (mean - low) / (high - low), 1))
        print(f"seed {seed}: {scores[-1]}", flush=True)
    error = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else 0.0
    return {"env_id": env_id, "scores": scores, "mean": statistics.fmean(scores), "standard_error": error}


def play(env_id: str, model: object, start: int) -> float:
    """Return the return of one trial."""
    env = gym.make(env_id)
    observation, _ = env.reset(seed=10_000 + start)
    total, over = 0.0, False
    while not over:
        action = model.predict(observation[None])[0]  # type: ignore[attr-defined]
        observation, reward, terminated, truncated, _ = env.step(action)
        total, over = total + float(reward), terminated or truncated
    env.close()
    return total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=("export", "learn"))
    parser.add_argument("arrays", type=Path, help="the .npz")
    parser.add_argument("--env", default="Pendulum-v1")
    parser.add_argument("--data", default="mixed", choices=("expert", "mixed", "human-like"))
    parser.add_argument("--folder", type=Path, default=Path("runs/offline"), help="of benchmarks/offline.py")
    parser.add_argument("--steps", type=int, default=5_000, help="gradient steps (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="(default %(default)s)")
    args = parser.parse_args()
    if args.task == "export":
        export(args.arrays, args.env, args.data, args.folder)
    else:
        print(json.dumps(learn(args.arrays, args.steps, args.seeds)))


if __name__ == "__main__":
    main()
