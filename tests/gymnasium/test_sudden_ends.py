"""Processes that are killed or interrupted: nothing acknowledged is lost, nothing hangs."""

import signal
import subprocess
import sys
import textwrap

import cogment_lab

_STEPPING = """
    import cogment_lab, sys
    store = cogment_lab.TrialStore("runs.db")
    env = cogment_lab.make("CartPole-v1", store=store)
    env.reset(seed=1)
    ticks = 0
    while True:
        ended = env.step(ticks % 2)[2]
        ticks += 1
        if ticks % 5000 == 0:
            store.flush()
            print(ticks, flush=True)
        if ended:
            env.reset()
"""

_LEARNING = """
    import threading, cogment_lab
    from stable_baselines3 import DQN
    from cogment_lab.humans import SimulatedHuman
    from cogment_lab.integrations.sb3 import TrialCallback

    env = cogment_lab.make("CartPole-v1", store="runs.db", teacher=SimulatedHuman(lambda o: 0, budget=300))
    model = DQN("MlpPolicy", env, learning_starts=100)

    class Announce(TrialCallback):
        def _on_step(self):
            if self.num_timesteps == 1500:
                print(self.num_timesteps, flush=True)
            return super()._on_step()

    try:
        model.learn(10_000_000, callback=Announce())
    except KeyboardInterrupt:
        steps = env.trial.all_ticks
        env.close()
        print(steps, threading.active_count(), flush=True)
"""


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_training_leaves_every_acknowledged_sample() -> None:
    process = start(_STEPPING)
    assert process.stdout is not None and process.stderr is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(3)][-1]
    process.kill()
    acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    process.wait(60)
    process.stdout.close()
    process.stderr.close()
    with cogment_lab.TrialStore("runs.db") as store:
        infos = list(store.trials())
        assert sum(info.n_ticks for info in infos) >= acknowledged
        states = {info.state for info in infos[:-1]}
        assert states == {"ENDED"}
        assert infos[-1].state == "INTERRUPTED"
        last = store.load(infos[-1].trial_id)["gym"]
        assert len(last) == infos[-1].n_ticks
        assert last.truncated[-1]
    with cogment_lab.TrialStore("runs.db") as store:
        env = cogment_lab.make("CartPole-v1", store=store)
        env.reset()
        env.step(0)
        env.close()
        assert len(list(store.trials())) == len(infos) + 1, "the store is written to again"


def test_ctrl_c_during_learn_loses_nothing_and_leaves_no_thread() -> None:
    process = start(_LEARNING)
    assert process.stdout is not None and process.stderr is not None
    assert int(process.stdout.readline()) == 1500
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    steps, threads = map(int, output.split())
    assert threads == 1
    with cogment_lab.TrialStore("runs.db") as store:
        infos = list(store.trials())
    assert sum(info.n_ticks for info in infos) == steps
    assert {info.state for info in infos} == {"ENDED"}
