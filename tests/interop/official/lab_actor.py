"""An actor of Cogment Lab 0.1.5, served by its own runner: ``lab_actor.py NAME JSON``."""

import json
import sys

from told import Told

from cogment_lab.actors import ConstantActor, RandomActor
from cogment_lab.actors.runner import actor_runner


class Recording(RandomActor):
    """A random actor that reports what it sees."""

    def __init__(self):
        super().__init__(None)

    async def act(self, observation, rendered_frame=None):
        action = self.action_space.gym_space.sample()
        frame = None if rendered_frame is None else list(rendered_frame.shape)
        line = {"observation": observation.tolist(), "action": int(action), "frame": frame}
        print(json.dumps(line), flush=True)
        return action

    async def on_reward(self, rewards):
        print(json.dumps({"reward": [one.value for one in rewards]}), flush=True)

    async def on_ending(self, observation, rendered_frame):
        print(json.dumps({"last": observation.tolist()}), flush=True)


PORT = int(sys.argv[2])
if sys.argv[1] == "constant":
    actor_runner(ConstantActor, (1,), {}, "constant", Told(PORT), PORT)
else:
    actor_runner(Recording, (), {}, "recording", Told(PORT), PORT)
