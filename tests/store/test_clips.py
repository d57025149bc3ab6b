"""Clips of stored trials, for whom nobody kept pictures."""

import io
import logging
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

import cogment_lab
from cogment_lab import PreferenceQueue, TrialStore
from cogment_lab.errors import ConfigurationError
from cogment_lab.store import Segment
from cogment_lab.store.drawn import draw_values, numbers_of


class Unseen(gym.Env[Any, Any]):
    """Renders nothing; observations are numbers, or words."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    action_space = gym.spaces.Discrete(2)

    def __init__(self, words: bool = False) -> None:
        self._words = words
        self.observation_space = gym.spaces.Text(20) if words else gym.spaces.Box(-9, 9, (2,))
        self._tick = 0

    def _observation(self) -> Any:
        return f"t{self._tick}" if self._words else np.array([self._tick, -1], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._tick = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._tick += 1
        return self._observation(), 1.0, self._tick == 8, False, {}


def record(env: Any, store: TrialStore, n: int = 8) -> str:
    made = cogment_lab.make(env, store=store, record="full")
    made.reset(seed=3)
    for tick in range(n):
        made.step(tick % 2)
    trial_id = made.trial_id
    made.close()
    return trial_id


def pixels(jpeg: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.int16)


def test_stored_trials_are_rendered_again(path: Path) -> None:
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=3)
    wanted = []
    for tick in range(6):
        wanted.append(np.asarray(env.render(), np.int16))
        env.step(tick % 2)
    env.close()
    with TrialStore(path) as store:
        trial_id = record("CartPole-v1", store)
        queue = PreferenceQueue(store)
        pair = (
            Segment(trial_id=trial_id, start=0, stop=3),
            Segment(trial_id=trial_id, start=2, stop=6),
        )
        (asked,) = queue.ask([pair])
        shown = [pixels(each) for each in queue.clip(asked, 1)]
        assert len(queue.clip(asked, 0)) == 3 and len(shown) == 4
    for picture, original in zip(shown, wanted[2:], strict=True):
        small = Image.fromarray(original.astype(np.uint8)).resize((480, 320), Image.Resampling.BOX)
        assert np.abs(picture - np.asarray(small, np.int16)).mean() < 2.0


def test_what_shows_nothing_is_drawn_as_curves(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with TrialStore(path) as store:
        trial_id = record(Unseen(), store)
        queue = PreferenceQueue(store)
        segment = Segment(trial_id=trial_id, start=2, stop=7)
        with caplog.at_level(logging.WARNING, "cogment_lab.store"):
            (asked,) = queue.ask([(segment, segment)])
        assert "shows curves of its observations" in caplog.text
        clip = [pixels(each) for each in queue.clip(asked, 0)]
    assert len(clip) == 5 and clip[0].shape == (320, 480, 3)
    is_cursor = [(picture[..., 0] > 200) & (picture[..., 2] < 120) for picture in clip]
    places = [np.flatnonzero(each[:, 90:390].sum(axis=0) > 200).mean() for each in is_cursor]
    assert places == sorted(places) and places[-1] - places[0] > 200


def test_what_can_be_neither_shown_nor_drawn_is_refused(path: Path) -> None:
    with TrialStore(path) as store:
        trial_id = record(Unseen(words=True), store)
        segment = Segment(trial_id=trial_id, start=0, stop=3)
        with pytest.raises(ConfigurationError, match=r"give frames=\[env.render"):
            PreferenceQueue(store).ask([(segment, segment)])


def test_numbers_are_found_in_nested_observations() -> None:
    nested = {
        "x": np.arange(6.0).reshape(3, 2),
        "pair": (np.array([True, False, True]), np.zeros((3, 1, 2), np.int64)),
        "word": np.array(["a", "b", "c"]),
    }
    names, values = numbers_of(nested)
    assert names == ["x[0]", "x[1]", "pair[0]", "pair[1][0]", "pair[1][1]"]
    assert values.shape == (3, 5) and values[:, 2].tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(ConfigurationError, match="no numbers"):
        numbers_of(["a", "b"])


@pytest.mark.parametrize("n_columns", [1, 12, 13, 300])
def test_any_number_of_columns_and_odd_values_can_be_drawn(n_columns: int) -> None:
    values = np.ones((4, n_columns))
    values[1, 0], values[2, 0] = np.nan, np.inf
    names = [str(column) for column in range(n_columns)]
    pictures = list(draw_values(names, values, range(4)))
    assert len(pictures) == 4 and {picture.shape for picture in pictures} == {(320, 480, 3)}
