"""The Python in the documents runs, in the order in which it is read, with fewer steps."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cogment_lab
from cogment_lab import PreferenceQueue
from cogment_lab.humans.scripted import scripted_human, scripted_policy

ROOT = Path(__file__).parent.parent
LONG_RUN = re.compile(r"\.learn\((\d[\d_]*)")


def blocks(document: str) -> list[tuple[int, str]]:
    """Return each Python block with the line on which it begins."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n") + 1, match[1]) for match in found]


def run(document: str, *changes: tuple[str, str], **names: Any) -> dict[str, Any]:
    """Run the blocks of a document one after the other, as one script; ``changes`` make them smaller.

    Returns:
        Its variables.
    """
    there: dict[str, Any] = {"__name__": "__main__", "cogment_lab": cogment_lab, **names}
    code = blocks(document)
    assert code, f"{document} has no Python"
    for line, block in code:
        smaller = LONG_RUN.sub(r".learn(60", block)
        for old, new in changes:
            smaller = smaller.replace(old, new)
        # Newlines, so that a traceback names the document's own line.
        exec(compile("\n" * (line - 1) + smaller, ROOT / document, "exec"), there)
    return there


def lander(path: str, trials: int = 4, ticks: int = 40) -> None:
    """Record trials with takeovers."""
    cogment_lab.run(
        "LunarLander-v3",
        {
            "gym": lambda observation: 0,
            "teacher": scripted_human("LunarLander-v3", reaction_ticks=1, budget=10_000),
        },
        trials,
        seed=1,
        store=path,
        max_episode_steps=ticks,
    )


def test_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(Path.cwd() / "minari"))
    lander("runs/lunar.db")
    run(
        "docs/datasets.md",
        ('min_return=200, only="interventions"', 'only="interventions"'),
        ("min_return=200", "min_return=-1e6"),
        ("buffer_size=100_000", "buffer_size=1000"),
        ("replay_buffer_class=Mixed", "buffer_size=1000, learning_starts=10, replay_buffer_class=Mixed"),
        ('"runs/lunar.db", "ratio"', '"runs/lunar.db", "query": {"env": "LunarLander-v3"}, "ratio"'),
    )


def test_looking_back() -> None:
    lander("runs/lunar.db")
    there = run("docs/looking-back.md", model=SimpleNamespace(num_timesteps=500))
    assert there["queue"].progress().open == 1 and there["queue"].query(1).policy == "500"
    there["store"].close()


def test_offline() -> None:
    policy = scripted_policy("Pendulum-v1")
    cogment_lab.run("Pendulum-v1", policy, 3, seed=1, store="runs/people.db", max_episode_steps=60)
    with cogment_lab.TrialStore("runs/people.db") as store:
        trial_id = next(store.trials()).trial_id
        run("docs/offline.md", (".into(online)", ".into(online, warm_up=5)"), store=store, trial_id=trial_id)


def test_readme() -> None:
    there = run(
        "README.md",
        ("env = cogment_lab.make(", "simulated = cogment_lab.make("),
        # Nobody answers at host:9000.
        ("env = cogment_lab.join(", "join = lambda: cogment_lab.join("),
    )
    for name in ("env", "simulated"):
        there[name].close()
    with cogment_lab.TrialStore("runs/lunar.db") as store:
        assert store.stats().ticks >= 60
    with cogment_lab.TrialStore("runs/services.db") as store:
        assert store.stats().trials == 1


def test_the_preferences_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["preferences.py", "--quick"])
    assert runpy.run_path(str(ROOT / "examples/preferences.py"))["main"]() > 0.3
    (path,) = Path("runs").glob("preferences-*.db")
    answers = PreferenceQueue(path, "pendulum").answers()
    assert len(answers) == 4 and answers[0].policy == "70 % expert"
