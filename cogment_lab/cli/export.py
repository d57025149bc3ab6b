"""``cogmentlab export`` and ``import``: trials to other formats, and back."""

from __future__ import annotations

import collections
import contextlib
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from cogment_lab.cli.counting import counted
from cogment_lab.cli.trials import open_existing
from cogment_lab.errors import ConfigurationError, StoreFullError
from cogment_lab.integrations.exchange import find_agents, query_agents
from cogment_lab.store import TrialStore

__all__ = ["export_trials", "import_trials", "parse_query"]

_NUMBERS = ("min_return", "since")
_TEXTS = ("env", "env_id", "actor", "only", "damaged")


def parse_query(given: Sequence[str]) -> dict[str, Any]:
    """Return arguments of ``TrialStore.query`` from ``NAME=VALUE``; other names are the trials' properties.

    ``trial=ID`` may be there several times.

    Raises:
        ConfigurationError: text without ``=``, or a number that is none.
    """
    query: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator:
            raise ConfigurationError(f"--query {text!r} is not NAME=VALUE, such as min_return=200 or env=X")
        if name in _NUMBERS:
            try:
                query[name] = _moment(value) if name == "since" else float(value)
            except ValueError:
                or_date = ", nor a date like 2026-01-31 or 2026-01-31T18:00" if name == "since" else ""
                raise ConfigurationError(f"--query {text!r}: {value!r} is no number{or_date}") from None
        elif name == "labelled":
            query[name] = {"true": True, "false": False}.get(value, value)
        elif name == "trial":
            query.setdefault("trial_ids", []).append(value)
        elif name in _TEXTS:
            query[name] = value
        else:
            query.setdefault("properties", {})[name] = value
    return query


def _moment(text: str) -> float:
    """Return unix seconds, given as such or as an ISO date, here where no zone is named.

    Raises:
        ValueError: the text is neither.
    """
    try:
        return float(text)
    except ValueError:
        return datetime.datetime.fromisoformat(text).timestamp()


def export_trials(
    file: Path, kind: str, name: str, *, query: Sequence[str], agent: str | None, metadata: dict[str, Any]
) -> None:
    """Write the trials of a store in another format, and say what was written.

    Raises:
        ConfigurationError: a query, name or format that cannot be.
        StoreError: the store does not exist or cannot be read, or the disk is full.
    """
    chosen = parse_query(query)
    with _busy(f"writing {name}"), open_existing(file) as store:
        _check_properties(store, chosen.get("properties", {}))
        said = _left_out(store, chosen, agent)
        said += _write(store, kind, name, chosen, agent, metadata)
    _say("\n".join(said))


def _write(
    store: TrialStore,
    kind: str,
    name: str,
    chosen: dict[str, Any],
    agent: str | None,
    metadata: dict[str, Any],
) -> list[str]:
    """Write the trials; return what was written."""
    if kind == "minari":
        from cogment_lab.integrations.minari import to_minari, to_minari_by_agent

        if agent is None:
            datasets = to_minari_by_agent(store, name, **metadata, **chosen)
        else:
            datasets = {agent: to_minari(store, name, agent=agent, **metadata, **chosen)}
        return [
            f"wrote {each.id}: {counted(each.total_episodes, 'episode')}, {counted(each.total_steps, 'step')}"
            for each in datasets.values()
        ]
    from cogment_lab.integrations.npz import to_npz
    from cogment_lab.integrations.tables import to_csv, to_parquet

    writers = {"npz": (to_npz, "trial"), "csv": (to_csv, "step"), "parquet": (to_parquet, "step")}
    write, unit = writers[kind]
    path = Path(name if name.endswith(f".{kind}") else f"{name}.{kind}")
    agents = [agent] if agent is not None else find_agents(store, chosen)
    said = []
    with contextlib.ExitStack() as unless_complete:
        for each in agents:
            where = path if len(agents) == 1 else path.with_stem(f"{path.stem}-{each}")
            count = write(store.query(agent=each, **chosen), where)
            unless_complete.callback(where.unlink, missing_ok=True)
            said.append(f"wrote {where}: {counted(count, unit)}")
        unless_complete.pop_all()
    return said


def _check_properties(store: TrialStore, properties: dict[str, str]) -> None:
    """Check that some trial has properties of these names, of which one may be a query's misspelt argument.

    Raises:
        ConfigurationError: none has.
    """
    if not properties or not len(store):
        return
    there = {name for info in store.trials() for name in info.properties}
    for name in properties:
        if name not in there:
            names = ", ".join((*_NUMBERS, *_TEXTS, "labelled", "trial"))
            raise ConfigurationError(
                f"no trials match --query {name}={properties[name]}: none has a property {name!r} (there are "
                f"{', '.join(sorted(there)) or 'no properties'}), and a query knows {names}"
            )


def _left_out(store: TrialStore, query: dict[str, Any], agent: str | None) -> list[str]:
    """Return why ``damaged=skip`` is going to leave out trials, of one agent or of all."""
    if query.get("damaged") != "skip":
        return []
    skipped: dict[str, str] = {}
    for found in query_agents(store, query) if agent is None else [store.query(agent=agent, **query)]:
        for _ in found:
            pass
        skipped.update(found.skipped)
    reasons = collections.Counter(skipped.values())
    return [f"left out: {f'{count} trials, ' if count > 1 else ''}{why}" for why, count in reasons.items()]


def import_trials(sources: Sequence[str], file: Path) -> None:
    """Record the trials of ``.npz`` files or of Minari datasets in a store; agents of one trial are joined.

    Raises:
        ConfigurationError: there is no such source.
        StoreError: the store cannot be written.
    """
    for source in sources:
        if Path(source).suffix in (".csv", ".parquet"):
            raise ConfigurationError(
                f"{source} cannot be imported: a table holds no spaces and no last observations. Export the "
                "trials with --to npz or --to minari, which come back exactly"
            )
        if Path(source).is_file() and not source.endswith(".npz"):
            raise ConfigurationError(
                f"{source} is a file of another kind: import takes .npz archives and the ids of Minari "
                "datasets; a store needs no import"
            )
    archives = [Path(source) for source in sources if source.endswith(".npz")]
    datasets = [source for source in sources if not source.endswith(".npz")]
    if archives and datasets:
        raise ConfigurationError("import .npz files and Minari datasets one after the other")
    with _busy(f"recording in {file}"), TrialStore(file) as store:
        try:
            if archives:
                from cogment_lab.integrations.npz import from_npz

                found = from_npz(archives, store)
            else:
                from cogment_lab.integrations.minari import from_minari

                found = from_minari(datasets, store)
        except StoreFullError as error:
            there = sum(1 for _ in store.trials(state="ENDED"))
            raise StoreFullError(f"{error}. {file} has {counted(there, 'complete trial')} now") from error
    _say(f"recorded {counted(len(found), 'trial')} in {file}")


def _busy(text: str) -> contextlib.AbstractContextManager[Any]:
    """Show on a terminal that something is going on; elsewhere nothing."""
    return Console(stderr=True).status(text)


def _say(text: str) -> None:
    Console().print(text, highlight=False, soft_wrap=True)
