"""A person who is forgotten is gone from the file, and nobody else is."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import cogment_lab
from cogment_lab.errors import ConfigurationError, TrialStateError, UnknownParticipantError
from cogment_lab.store import AgentSpec, StreamSpec, TrialStore
from cogment_lab.studies import StudyLedger, read_study
from cogment_lab.trial.sample import Tick

SECRET = "marmalade-on-the-stairs"
STUDY = """
name: pilot
consent: Do you agree?
trials: 2
session: nowhere:session
questionnaire:
  - {key: why, kind: text, text: "Why?"}
"""


class Words(gym.Env[Any, Any]):
    """Says a sentence in its info and as its observation."""

    observation_space = gym.spaces.Text(60)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return self.sentence, {}

    def step(self, action: Any) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return self.sentence, 1.0, False, True, {"said": self.sentence}


def play(store: TrialStore, participant: str, sentence: str, trials: int = 2) -> list[str]:
    env = cogment_lab.make(Words(sentence), store=store, properties={"participant": participant})
    ids = []
    for _ in range(trials):
        env.reset(seed=1)
        env.step(1)
        ids.append(env.trial_id)
    env.close()
    return ids


@pytest.fixture
def study(tmp_path: Path) -> Any:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return read_study(path)


def test_every_byte_of_a_person_is_gone_and_others_stay(tmp_path: Path, study: Any, everything: Any) -> None:
    path = tmp_path / "study.db"
    ledger = StudyLedger(path, study)
    person, _ = ledger.join("prolific-4711")
    other, _ = ledger.join("someone-else")
    with TrialStore(path) as store:
        theirs = play(store, person.pseudonym, SECRET)
        kept = play(store, other.pseudonym, "something else")
        store.flush()
        for each in (person, other):
            ledger.advance(each, "consent", {"agreed": True})
        for trial_id in theirs:
            person = ledger.note_trial(person, trial_id, "trials")
        ledger.advance(person, "questionnaire", {"why": f"because {SECRET}"})
        store.label(kept[0], "note", SECRET, annotator=person.pseudonym)
        assert SECRET.encode() in everything(path)
        assert b"prolific-4711" not in everything(path), "names from elsewhere are kept hashed"
        forgotten = store.forget("prolific-4711")
        assert forgotten.trials == tuple(theirs)
        assert (forgotten.responses, forgotten.labels) == (1, 1) and forgotten.events > 3
        assert SECRET.encode() not in everything(path)
        assert person.pseudonym.encode() not in everything(path)
        assert [info.trial_id for info in store.trials()] == kept
        assert store.load(kept[1])["gym"].observations[0] == "something else"
    with pytest.raises(UnknownParticipantError):
        ledger.participant(person.pseudonym)
    assert [each.pseudonym for each in ledger.people()] == [other.pseudonym]
    assert TrialStore(path).forget("nobody").trials == ()
    ledger.close()


def test_what_a_person_labelled_goes_however_the_name_is_spaced(tmp_path: Path) -> None:
    with TrialStore(tmp_path / "some.db") as store:
        (kept,) = play(store, "other", "something else", trials=1)
        (theirs,) = play(store, "Ann  Lee", SECRET, trials=1)
        store.label(kept, "note", SECRET, annotator="Ann  Lee")
        store.label(kept, "note", "mine", annotator="other")
        forgotten = store.forget("Ann  Lee")
        assert forgotten.trials == (theirs,) and forgotten.labels == 1
        assert [label.annotator for label in store.labels()] == ["other"]


def record(store: TrialStore, owners: list[str], large: bool) -> dict[str, str]:
    """Record trials of several people into one stream, so that they share chunks; return owner by trial."""
    size = 600 if large else 3
    space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
    spec = StreamSpec(
        env_id="Env-v0",
        agents={"gym": AgentSpec(space, gym.spaces.Discrete(3))},
        record="full",
        env_spec=None,
        parameters={},
        versions={},
    )
    stream = store.open_stream(spec)
    owner_of = {}
    for index, owner in enumerate(owners):
        trial_id = f"trial-{index}"
        owner_of[trial_id] = owner
        stream.begin(trial_id, seed=index, rng_state=None, options=None, properties={"participant": owner})
        for number in range(4):
            tick = Tick()
            tick.number = number
            tick.observation = np.full(size, 10 * index + number, np.float32)
            tick.executed_action = number % 3
            tick.proposed_action = (number + index) % 3
            tick.decided_by = int(number == 2)
            tick.phase = 0
            tick.reward = float(index)
            tick.terminated = number == 3
            tick.truncated = False
            tick.info = {"owner": owner, "index": index} if number % 2 else {}
            tick.feedback = None
            tick.t_shown = tick.t_acted = 1000 * index + number + 1
            stream.recorder("gym").append(tick)
        stream.end(state="ENDED", end_reason="terminated", last_observations={"gym": tick.observation})
    stream.close()
    return owner_of


def contents(store: TrialStore, trial_id: str) -> list[Any]:
    data = store.load(trial_id)["gym"]
    columns = (data.observations, data.actions, data.proposed_actions, data.rewards, data.t_acted)
    return [*(np.asarray(each).tolist() for each in columns), data.infos, data.last_observation.tolist()]


@pytest.mark.parametrize("large", [False, True], ids=["inline", "beside the rows"])
@pytest.mark.parametrize("memory", [False, True], ids=["file", "memory"])
def test_trials_that_share_chunks_are_cut_out(
    tmp_path: Path, large: bool, memory: bool, everything: Any
) -> None:
    path = tmp_path / "shared.db"
    with TrialStore(":memory:" if memory else path) as store:
        owner_of = record(store, ["ann", "bob", "ann", "cy", "bob"], large)
        store.flush()
        before = {each: contents(store, each) for each, owner in owner_of.items() if owner != "bob"}
        assert set(store.forget("bob").trials) == {each for each, owner in owner_of.items() if owner == "bob"}
        assert {info.trial_id for info in store.trials()} == set(before)
        assert {each: contents(store, each) for each in before} == before
        if not memory:
            assert b'"bob"' not in everything(path) and b"bob" not in everything(path)


def test_a_trial_that_runs_is_not_forgotten(tmp_path: Path) -> None:
    with TrialStore(tmp_path / "running.db") as store:
        env = cogment_lab.make(Words("hello"), store=store, properties={"participant": "ann"})
        env.reset(seed=1)
        env.step(1)
        env.reset(seed=2)
        env.unwrapped.trial.event("note", {"text": "still here"})
        store.flush()
        with pytest.raises(TrialStateError, match="still runs"):
            store.forget("ann")
        assert len(store) == 2
        env.close()
        assert len(store.forget("ann").trials) == 2


def test_nobody_is_not_a_name(tmp_path: Path) -> None:
    with TrialStore(tmp_path / "some.db") as store:
        (kept,) = play(store, "ann", "hello", trials=1)
        store.label(kept, "note", "by nobody in particular")
        with pytest.raises(ConfigurationError, match="names nobody"):
            store.forget("")
        assert len(store.labels(kept)) == 1


def play_until_killed(path: Path, ready: Any) -> None:
    store = TrialStore(path)
    env = cogment_lab.make(Words(SECRET), store=store, properties={"participant": "ann"})
    env.reset(seed=1)
    env.step(1)
    env.reset(seed=2)
    env.unwrapped.trial.event("note", {"text": SECRET})
    store.flush()
    ready.set()
    signal.pause()


def test_what_a_killed_process_left_is_forgotten(tmp_path: Path, everything: Any) -> None:
    path = tmp_path / "killed.db"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=play_until_killed, args=(path, ready))
    process.start()
    assert ready.wait(60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(20)
    assert SECRET.encode() in everything(path)
    with TrialStore(path) as store:
        assert len(store.forget("ann").trials) >= 1
        assert len(store) == 0
        assert SECRET.encode() not in everything(path)
