"""From people's trials to the next agent: record, export to Minari, learn by IQL, evaluate, go on by SAC.

The people are simulated: somebody clumsy plays, and a teacher takes over when the pendulum falls, late and
with errors; ``"teacher": "web"`` puts a person at a page in the script's place. Takes about two minutes, and
draws ``runs/offline.png``; the store lies beside it, and ``minari.load_dataset`` finds the data set.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from cogment_lab.algorithms import IQL
from stable_baselines3 import SAC

import cogment_lab
from cogment_lab.humans.scripted import scripted_human

ENV, TRIALS, GRADIENT_STEPS, STEPS = "Pendulum-v1", 40, 5_000, 4_000
NAME = time.strftime("people-%Y%m%d-%H%M%S")
SETTINGS = {"learning_rate": 1e-3, "tau": 0.02, "policy_kwargs": {"net_arch": [64, 64]}, "seed": 1}


def clumsy(observation):
    return 2.0 * np.sin(20.0 * observation[2:])


store = cogment_lab.TrialStore(f"runs/{NAME}.db")
people = {"gym": clumsy, "teacher": scripted_human(ENV, reaction_ticks=3, error_rate=0.1)}
cogment_lab.run(ENV, people, TRIALS, seed=1, store=store, properties={"who": "people"})
store.to_minari(f"pendulum/{NAME}-v0")
iql = IQL("MlpPolicy", store, **SETTINGS).learn(GRADIENT_STEPS)
learned = {"gym": lambda observation: iql.predict(observation, deterministic=True)[0]}
cogment_lab.run(ENV, learned, 10, seed=2, store=store, properties={"who": "IQL"})
sac = SAC("MlpPolicy", cogment_lab.make(ENV, store=store, properties={"who": "SAC"}), **SETTINGS)
iql.into(sac, warm_up=GRADIENT_STEPS, hold=STEPS)
sac.learn(STEPS)
for who in ("people", "IQL", "SAC"):
    plt.plot([trial.total_reward for trial in store.trials(properties={"who": who})], "o-", label=who)
plt.gca().set(title=ENV, xlabel="trial", ylabel="return")
plt.legend()
plt.savefig("runs/offline.png")
