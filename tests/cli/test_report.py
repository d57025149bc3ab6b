"""``cogmentlab report``: what the page says, that it is safe to open, and what it needs."""

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pettingzoo
import pytest

import cogment_lab
from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.humans import SimulatedHuman
from cogment_lab.humans.scripted import scripted_gate, scripted_policy
from cogment_lab.humans.simulated import SimulatedEvaluator
from cogment_lab.reports import figures, read_report, render_page
from cogment_lab.reports.numbers import NOBODY

ENV_ID = "CartPole-v1"


def record(store: Any, trials: int = 6, **properties: Any) -> None:
    rng = np.random.default_rng(0)
    actors = {
        "gym": lambda observation: int(rng.integers(2)),
        "teacher": SimulatedHuman(scripted_policy(ENV_ID), scripted_gate(ENV_ID)),
        "evaluator": SimulatedEvaluator(
            lambda tick: (-1.0, 1.0)[tick.number % 2] if tick.number < 4 else None
        ),
    }
    cogment_lab.run(ENV_ID, actors, trials, seed=1, store=store, max_episode_steps=60, **properties)


@pytest.fixture
def store() -> Path:
    record("study.db")
    return Path("study.db")


def test_the_figures_are_those_of_the_trials(store: Path) -> None:
    with cogment_lab.TrialStore(store) as opened:
        (report,) = read_report(opened).environments
        infos = list(opened.trials())
        agents = [opened.load(info.trial_id)["gym"] for info in infos]
    assert [trial.info for trial in report.trials] == infos
    for trial, data in zip(report.trials, agents, strict=True):
        np.testing.assert_array_equal(trial.deciders == 1, data.is_intervention)
        assert trial.praise + trial.scolding == len(data.feedback) > 0
        assert trial.share_by_people == pytest.approx(data.is_intervention.mean())
    (participant,) = report.participants
    assert participant.trials == 6
    assert participant.n_by_people == sum(int(data.is_intervention.sum()) for data in agents) > 0
    assert participant.takeovers == sum(info.n_takeovers for info in infos)
    assert participant.median_reaction_ms is None
    lasted = sum(np.diff(data.t_shown)[data.phase[:-1] == "CORRECTING"].sum() for data in agents) / 1e9
    assert participant.seconds_in_control == pytest.approx(lasted, abs=0.1)


def test_participants_are_parted_by_name() -> None:
    with cogment_lab.TrialStore(":memory:") as opened:
        for name, trials in (("<i>ann</i>", 2), ("bob", 1)):
            record(opened, trials, properties={"participant": name})
        report = read_report(opened)
    found = {each.user_id: each.trials for each in report.environments[0].participants}
    assert found == {"<i>ann</i>": 2, "bob": 1}
    assert "&lt;i&gt;ann" in render_page(report) and "<i>ann" not in render_page(report)


def test_the_page_holds_everything_it_needs(store: Path) -> None:
    with cogment_lab.TrialStore(store) as opened:
        page = render_page(read_report(opened))
    assert "default-src 'none'" in page and "<script" not in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)" alt="([^":]+)', page)
    assert [alt for _, alt in pictures] == [
        "Learning curve",
        "Interventions",
        "Human cost",
        "Feedback",
        "Takeover map",
    ]
    for picture, _ in pictures:
        assert base64.b64decode(picture).decode().rstrip().endswith("</svg>")


def test_trials_without_people_show_a_learning_curve_alone() -> None:
    with cogment_lab.TrialStore(":memory:") as opened:
        cogment_lab.run(ENV_ID, lambda observation: 0, 2, seed=1, store=opened)
        assert render_page(read_report(opened)).count("<figure") == 1


def test_what_people_typed_is_text(cogmentlab: Any, store: Path) -> None:
    said = cogmentlab.output("report", str(store), "-o", "out/page.html", "--title", "<b>Pilot</b>")
    assert b"wrote out/page.html" in said
    page = Path("out/page.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;Pilot&lt;/b&gt;" in page and "<b>Pilot" not in page


def test_older_trials_beyond_the_limit_are_named(store: Path) -> None:
    with cogment_lab.TrialStore(store) as opened:
        report = read_report(opened, most_trials=2)
    assert report.unread == 4
    assert [len(trial.deciders) > 0 for trial in report.environments[0].trials] == [False] * 4 + [True] * 2
    assert "oldest 4 trials" in render_page(report)


def test_what_was_recorded_in_part_is_shown_in_part() -> None:
    with cogment_lab.TrialStore(":memory:") as opened:
        record(opened, 3, record="interventions")
        board = pettingzoo.make("aec", "classic/tictactoe-v3")
        players = dict.fromkeys(("player_1", "player_2"), first_legal)
        cogment_lab.run(board, players, 1, store=opened)
        report = read_report(opened)
        assert render_page(report).count("Takeover map</h3>") == 1
    takeovers, turns = (each.trials for each in report.environments)
    assert {code for trial in takeovers for code in trial.deciders.tolist()} == {1, NOBODY}
    assert turns[0].deciders.tolist() == [0, NOBODY, 0, NOBODY, 0, NOBODY, 0]


def first_legal(observation: Any) -> int:
    return int(np.flatnonzero(observation["action_mask"])[0])


def test_each_environment_has_its_section(store: Path) -> None:
    with cogment_lab.TrialStore(store) as opened:
        cogment_lab.run("Pendulum-v1", scripted_policy("Pendulum-v1"), 1, seed=1, store=opened)
        assert [each.env_id for each in read_report(opened).environments] == [ENV_ID, "Pendulum-v1"]
        assert [each.env_id for each in read_report(opened, env_id="Pendulum-v1").environments] == [
            "Pendulum-v1"
        ]


def test_nothing_to_report_on_is_an_error(cogmentlab: Any) -> None:
    with cogment_lab.TrialStore("empty.db") as opened, pytest.raises(ConfigurationError, match="no finished"):
        read_report(opened)
    assert b"does not exist" in cogmentlab.output("report", "absent.db", status=1)


def test_a_page_that_cannot_be_written_leaves_nothing_behind(cogmentlab: Any, store: Path) -> None:
    Path("taken").mkdir()
    assert b"cannot be written" in cogmentlab.output("report", str(store), "-o", "taken", status=1)
    assert list(Path().glob(".taken*")) == []


def test_without_matplotlib_the_extra_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures.importlib.util, "find_spec", lambda name: None)
    with cogment_lab.TrialStore(store) as opened, pytest.raises(MissingExtraError, match=r"\[report\]"):
        render_page(read_report(opened))


def test_maps_of_many_long_trials_are_put_together() -> None:
    rows = [np.zeros(7, np.uint8)] * 999 + [np.array([1, NOBODY, 2], np.uint8)]
    shares = figures._map_shares(rows, 7, 400, 600)
    assert shares.shape == (400, 7, 3) and shares.sum(axis=(0, 1)).tolist() == [999 * 7, 1, 1]
    assert shares[-1, :3].argmax(axis=1).tolist() == [0, 0, 0], "mixed with its neighbours"
    narrow = figures._map_shares(rows[-1:], 3000, 400, 600)
    assert narrow.shape == (1, 600, 3) and narrow[0, 0].tolist() == [0, 1, 1]


class Person(SimulatedHuman):
    called = "web"  # as a seat on a page is


def test_what_people_play_themselves_counts_as_theirs() -> None:
    actors = {"gym": Person(scripted_policy(ENV_ID))}
    board = pettingzoo.make("aec", "classic/tictactoe-v3")
    players = {"player_1": first_legal, "player_2": Person(first_legal)}
    with cogment_lab.TrialStore(":memory:") as opened:
        cogment_lab.run(ENV_ID, actors, 1, seed=1, store=opened, max_episode_steps=20, user_id="ann")
        cogment_lab.run(ENV_ID, lambda observation: 0, 1, seed=1, store=opened)
        cogment_lab.run(board, players, 1, store=opened)
        report = read_report(opened)
        assert "Human cost</h3>" in render_page(report)
        unread = read_report(opened, most_trials=1)
    played, alone = report.environments[0].trials
    assert played.share_by_people == 1.0 and set(played.deciders.tolist()) == {1}
    assert played.seconds_in_control > 0.0 and alone.n_by_people == alone.seconds_in_control == 0
    assert report.environments[0].participants[0].user_id == "ann"
    (turns,) = report.environments[1].trials
    assert turns.n_by_people == (turns.deciders == 1).sum() == turns.info.n_ticks // 2
    assert unread.environments[0].trials[0].n_by_people == 20


def test_what_was_not_read_is_not_drawn_as_nothing(store: Path) -> None:
    with cogment_lab.TrialStore(store) as opened:
        report = read_report(opened, most_trials=2)
    (environment,) = report.environments
    assert figures.human_cost_figure(environment) and figures.feedback_figure(environment)
    drawn: list[Any] = []
    original = figures._draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_draw", lambda draw, size=None: drawn.append(draw) or original(draw))
        figures.human_cost_figure(environment)
        figures.takeover_map(environment.trials)
    from matplotlib.figure import Figure

    cost, shown = (Figure().subplots() for _ in drawn)
    drawn[0](cost)
    drawn[1](shown)
    steps = np.cumsum(environment.column("n_ticks"))
    assert cost.lines[0].get_xdata().tolist() == steps[4:].tolist()
    assert shown.images[0].get_extent() == [0, max(environment.column("n_ticks")[4:]), 6.5, 4.5]


def test_running_trials_and_single_ones_are_told(store: Path) -> None:
    with cogment_lab.TrialStore("one.db") as opened:
        cogment_lab.run(ENV_ID, lambda observation: 0, 1, seed=1, store=opened)
        env = cogment_lab.make(ENV_ID, store=opened)
        env.reset(seed=1)
        env.step(0)
        opened.flush()
        page = render_page(read_report(opened))
        env.close()
    assert "1 finished trial of 1 environment, " in page and "1 trial left out, still running." in page
    assert page.count("Participants") == 0, "nobody took part"
