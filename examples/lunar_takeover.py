"""Train LunarLander while a person (or, with ``--scripted``, a simulated one) takes over in danger."""

import sys

from cogment_lab.algorithms.dqfd import DQfD
from cogment_lab.integrations.sb3 import TrialCallback

import cogment_lab
from cogment_lab.humans.scripted import scripted_human

ENV_ID = "LunarLander-v3"

if __name__ == "__main__":
    teacher = scripted_human(ENV_ID, budget=7_000) if "--scripted" in sys.argv else "web"
    env = cogment_lab.make(ENV_ID, teacher=teacher, store="runs/lunar.db")
    model = DQfD("MlpPolicy", env, tensorboard_log="runs/tb", seed=1)
    model.learn(30_000, callback=TrialCallback())
    model.save("runs/lunar-dqfd")
    env.close()
