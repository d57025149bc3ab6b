"""LunarLander as a service: a random actor flies it first, then you do, in the browser.

Run it alone, or after ``cogmentlab launch base`` in another terminal, whose services it then uses.
"""

import asyncio

from cogment_lab import Cogment
from cogment_lab.actors import RandomActor
from cogment_lab.envs import GymEnvironment

KEYS = ["no-op", "ArrowRight", "ArrowUp", "ArrowLeft"]


async def main() -> None:
    async with Cogment() as cog:
        await cog.run_env(GymEnvironment("LunarLander-v3", render=True), "lunar", port=0)
        await cog.run_actor(RandomActor(), "random", port=0)
        trial_id = await cog.start_trial("lunar", actor_impls={"gym": "random"})
        random_pilot = (await cog.get_trial_data(trial_id))["gym"]
        print(f"random pilot: {len(random_pilot)} ticks, return {random_pilot.rewards.sum():.0f}", flush=True)

        await cog.run_web_ui(actions=KEYS, fps=50)  # prints the address of the page
        trial_id = await cog.start_trial(
            "lunar", session_config={"render": True}, actor_impls={"gym": "web_ui"}
        )
        you = (await cog.get_trial_data(trial_id))["gym"]
        print(f"you: {len(you)} ticks, return {you.rewards.sum():.0f}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
