"""CartPole of Cogment Lab 0.1.5, served by its own runner: ``lab_env.py PORT``."""

import sys

from told import Told

from cogment_lab.envs.gymnasium import GymEnvironment
from cogment_lab.envs.runner import env_runner

PORT = int(sys.argv[1])
env_runner(GymEnvironment, (), {"env_id": "CartPole-v1"}, "cartpole", Told(PORT), PORT, None)
