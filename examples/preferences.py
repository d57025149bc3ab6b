"""A reward from comparisons: clips of stored trials are compared, and a reward is fitted to the answers.

The rater is simulated and errs now and then. ``--people`` puts the same clips on a page instead, prints its
link, and fits again with each answer. Christiano et al., "Deep Reinforcement Learning from Human Preferences"
(NeurIPS 2017), Equation 1, with a linear reward of three features, so that numpy does.
"""

import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

import cogment_lab
from cogment_lab import PreferenceQueue, TrialStore
from cogment_lab.humans import WebUI
from cogment_lab.humans.scripted import scripted_policy
from cogment_lab.store import Answer, Segment

ENV_ID = "Pendulum-v1"
TICKS = 25
ERRORS = 0.1
RIDGE = 1e-2


def features(store: TrialStore, segment: Segment) -> npt.NDArray[np.float64]:
    """Return ``(TICKS, 3)``: how upright, how fast, how much torque."""
    data = store.load(segment.trial_id)["gym"]
    rows = slice(segment.start, segment.stop)
    upright, _, speed = data.observations[rows].T.astype(np.float64)
    return np.stack([upright, speed**2 / 64, data.actions[rows, 0].astype(np.float64) ** 2 / 4], axis=1)


def true_return(store: TrialStore, segment: Segment) -> float:
    return float(store.load(segment.trial_id)["gym"].rewards[segment.start : segment.stop].sum())


def rate(store: TrialStore, queue: PreferenceQueue, rng: np.random.Generator) -> None:
    """Answer everything as a person would who sees which pendulum stands better, most of the time."""
    while (query := queue.next("simulated rater")) is not None:
        first, second = (true_return(store, segment) for segment in query.segments)
        prefers_first = (first > second) != (rng.random() < ERRORS)
        side = "left" if prefers_first == query.first_is_left else "right"
        queue.answer(query.query_id, side, annotator="simulated rater")


def fit(store: TrialStore, answers: list[Answer]) -> npt.NDArray[np.float64]:
    """Return the weights of the reward under which the answers are likeliest (Newton's method)."""
    told = [answer for answer in answers if answer.preference is not None]
    sums = [[features(store, each).sum(axis=0) for each in answer.segments] for answer in told]
    differences = np.array([first - second for first, second in sums]).reshape(-1, 3)
    preferred = np.array([answer.preference for answer in told])
    weights = np.zeros(3)
    for _ in range(20):
        chance = 1 / (1 + np.exp(-differences @ weights))
        slope = differences.T @ (preferred - chance) - RIDGE * weights
        bend = (differences.T * (chance * (1 - chance))) @ differences + RIDGE * np.eye(3)
        weights += np.linalg.solve(bend, slope)
    return weights


def tell(store: TrialStore, weights: npt.NDArray[np.float64], n_answers: int) -> float:
    """Print the reward, and return how it correlates with the environment's over all stored steps."""
    learned, true = [], []
    for info in store.trials():
        whole = Segment(trial_id=info.trial_id, start=0, stop=info.n_ticks)
        learned.append(features(store, whole) @ weights)
        true.append(store.load(info.trial_id)["gym"].rewards)
    agreement = float(np.corrcoef(np.concatenate(learned), np.concatenate(true))[0, 1])
    words = ", ".join(
        f"{name} {weight:+.2f}" for name, weight in zip(("upright", "speed", "torque"), weights, strict=True)
    )
    print(f"{n_answers} answers: {words}; correlation with the true reward {agreement:.2f}")
    return agreement


def main() -> float:
    trials, pairs = (3, 4) if "--quick" in sys.argv else (12, 40)
    rng = np.random.default_rng(1)
    path = Path("runs") / time.strftime("preferences-%Y%m%d-%H%M%S.db")
    expert = scripted_policy(ENV_ID)

    def player(observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Swing up, with long stretches of carelessness: there is something to compare."""
        return expert(observation) if rng.random() < 0.7 else rng.uniform(-2, 2, 1).astype(np.float32)

    with TrialStore(path) as store:
        ids = cogment_lab.run(ENV_ID, player, trials, seed=1, store=store)
        queue = PreferenceQueue(store, "pendulum")
        starts = rng.integers(0, 200 - TICKS, (pairs, 2)).tolist()
        chosen = rng.choice(ids, (pairs, 2)).tolist()
        queue.ask(
            [
                tuple(
                    Segment(trial_id=trial, start=start, stop=start + TICKS)
                    for trial, start in zip(pair, places, strict=True)
                )
                for pair, places in zip(chosen, starts, strict=True)
            ],
            policy="70 % expert",
        )
        if "--people" not in sys.argv:
            rate(store, queue, rng)
            answers = queue.answers()
            return tell(store, fit(store, answers), len(answers))
        with WebUI(port=0, store=path) as ui:
            print(f"compare at {ui.compare_url}; Ctrl-C ends it")
            answers, seen, is_open = [], 0, True
            while is_open:
                is_open = queue.progress().open > 0
                news = queue.answers(since=seen)
                for answer in news:
                    seen = answer.answer_id
                    answers = [each for each in answers if each.answer_id != answer.withdraws]
                    answers += [answer] if answer.withdraws is None else []
                if news:
                    tell(store, fit(store, answers), len(answers))
                time.sleep(0.5)
        return tell(store, fit(store, answers), len(answers))


if __name__ == "__main__":
    main()
