"""The benchmark keeps what it has measured, and draws the document's table from that alone."""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def benchmark(import_benchmark: Callable[[str], Any]) -> Any:
    return import_benchmark("offline")


def test_a_run_is_kept_with_its_cost_and_not_made_again(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "TRIALS", 4)
    benchmark.record("Pendulum-v1", "mixed", tmp_path / "Pendulum-v1-mixed.db")
    score = benchmark.learn("Pendulum-v1", "mixed", "BC", 1, tmp_path, 10)
    (cell,) = tmp_path.glob("cells/*")
    kept = json.loads(cell.read_text())
    assert kept["return"] == score and kept["cpu_seconds"] > 0.0
    cell.write_text(json.dumps({**kept, "return": -5.0}))
    assert benchmark.learn("Pendulum-v1", "mixed", "BC", 1, tmp_path, 10) == -5.0


def test_every_algorithm_is_handed_on_when_its_seeds_are_done(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "learn", lambda env_id, kind, name, seed, *_: 10.0 * seed)
    args = argparse.Namespace(datasets=["mixed"], algorithms=["BC", "IQL"], seeds=2, steps=1)
    seen: list[Any] = []
    with ThreadPoolExecutor(1) as pool:
        results = benchmark.learn_all(pool, {"Pendulum-v1": (0.0, 100.0)}, args, tmp_path, seen.append)
    score = [15.0, pytest.approx(12.706 * 50**0.5 / 2**0.5, abs=0.1)]
    assert results == {"Pendulum-v1": {"mixed": {"BC": score, "IQL": score}}}
    assert seen == [{"Pendulum-v1": {"mixed": {name: score}}} for name in ("BC", "IQL")]


def test_the_table_has_what_was_measured_and_says_what_was_not(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, results = tmp_path / "offline.md", tmp_path / "results.json"
    document.write_text("Before.\n{}old\n{}After.\n".format(*benchmark.MARKS))
    monkeypatch.setattr(benchmark, "DOCUMENT", document)
    monkeypatch.setattr(benchmark, "RESULTS", results)
    benchmark.write({"Pendulum-v1": {"mixed": {"BC": [50.0, 1.0]}}})
    benchmark.write({"Pendulum-v1": {"mixed": {"IQL": [90.0, 2.0]}, "expert": {"BC": [100.0, 0.0]}}})
    lines = document.read_text().splitlines()
    gaps = " | ".join(["not measured"] * 3)
    assert f"| Pendulum-v1, mixed | 50.0 ± 1.0 | {gaps} | **90.0 ± 2.0** |" in lines
    assert lines.index("Before.") == 0 and lines[-1] == "After." and "old" not in lines
    assert sum(line.startswith("| Pendulum-v1") for line in lines) == 2


def test_the_documents_table_is_that_of_the_kept_results(benchmark: Any) -> None:
    document = benchmark.DOCUMENT.read_text()
    drawn = benchmark.table(json.loads(benchmark.RESULTS.read_text()))
    assert document.split(benchmark.MARKS[0])[1].split(benchmark.MARKS[1])[0] == drawn
