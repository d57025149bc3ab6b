"""CartPole of Cogment Lab 0.1.5, served by its own runner: ``lab_env.py PORT``."""

import json
import sys

from cogment_lab.envs.gymnasium import GymEnvironment
from cogment_lab.envs.runner import env_runner


class Told:
    """The queue by which the runner says that it serves."""

    def put(self, _):
        """Tell the test."""
        print(json.dumps({"port": int(sys.argv[1])}), flush=True)


env_runner(GymEnvironment, (), {"env_id": "CartPole-v1"}, "cartpole", Told(), int(sys.argv[1]), None)
