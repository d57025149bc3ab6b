"""From people's trials to the next agent: record, export to Minari, learn offline by IQL, go on by SAC, draw.

The people are simulated: a clumsy player, and a teacher who takes over when the pendulum falls, late and with
errors. ``--quick`` shortens everything to see that it runs. Writes ``runs/offline.png``, and all
else to a folder of its own beside it.
"""

import os
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from cogment_lab.algorithms import IQL
from matplotlib.figure import Figure
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import cogment_lab
from cogment_lab.humans.scripted import scripted_human

ENV_ID = "Pendulum-v1"
LAYERS = {"net_arch": [64, 64]}


def clumsy(observation: np.ndarray) -> np.ndarray:
    return np.array([2.0 * np.sin(20.0 * observation[2])], np.float32)


def score(model: SAC | IQL, plays: int) -> float:
    env = Monitor(gym.make(ENV_ID))
    env.reset(seed=1)
    return float(np.mean(evaluate_policy(model, env, n_eval_episodes=plays)[0]))


def main() -> None:
    is_quick = "--quick" in sys.argv
    trials, gradient_steps, steps, evaluations, plays = (
        (2, 20, 40, 2, 1) if is_quick else (40, 5000, 4000, 8, 5)
    )
    folder = Path("runs") / time.strftime("offline-%Y%m%d-%H%M%S")
    os.environ["MINARI_DATASETS_PATH"] = str(folder.absolute() / "minari")
    with cogment_lab.TrialStore(folder / "people.db") as store:
        person = scripted_human(ENV_ID, reaction_ticks=3, error_rate=0.1)
        actors = {"gym": clumsy, "teacher": person}
        ids = cogment_lab.run(ENV_ID, actors, trials, seed=1, store=store)
        recorded = float(np.mean([store.info(trial_id).total_reward for trial_id in ids]))

        dataset = store.to_minari("pendulum/people-v0", trial_ids=ids)
        print(f"{dataset.total_steps} steps of {dataset.total_episodes} trials in {folder}/minari")

        offline = IQL("MlpPolicy", store, learning_rate=1e-3, tau=0.02, policy_kwargs=dict(LAYERS), seed=1)
        offline.learn(gradient_steps)

        curves = {}
        for name, starts_offline in (("SAC after IQL", True), ("SAC from scratch", False)):
            online = SAC(
                "MlpPolicy", gym.make(ENV_ID), learning_rate=1e-3, policy_kwargs=dict(LAYERS), seed=1
            )
            if starts_offline:
                offline.into(online, warm_up=gradient_steps, hold=steps)
            before = score(online, plays)
            evaluate = EvalCallback(
                Monitor(gym.make(ENV_ID)),
                eval_freq=steps // evaluations,
                n_eval_episodes=plays,
                log_path=str(folder / name),
                verbose=0,
            )
            online.learn(steps, callback=evaluate)
            seen = np.load(folder / name / "evaluations.npz")
            curves[name] = ([0, *seen["timesteps"]], [before, *seen["results"].mean(axis=1)])
            print(f"{name:17} {curves[name][1][0]:7.0f} -> {curves[name][1][-1]:7.0f}")
    print(f"people's trials {recorded:7.0f}, IQL offline {score(offline, plays):7.0f}")

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, (x, y) in curves.items():
        axes.plot(x, y, marker="o", label=name)
    axes.axhline(recorded, color="grey", ls="--", label="the people's trials")
    axes.set(xlabel="environment steps", ylabel=f"return, mean of {plays} trials", title=ENV_ID)
    axes.legend()
    figure.savefig("runs/offline.png", dpi=150)


if __name__ == "__main__":
    main()
