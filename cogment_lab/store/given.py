"""A store, or the path of one: what functions take that read or record trials."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from cogment_lab.errors import ConfigurationError
from cogment_lab.store.store import TrialStore

__all__ = ["store_to_read", "store_to_write"]


@contextlib.contextmanager
def store_to_write(store: TrialStore | str | os.PathLike[str]) -> Iterator[TrialStore]:
    """Yield the store; one that is given by its path is closed again.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(store, str | os.PathLike):
        with TrialStore(store) as opened:
            yield opened
    elif hasattr(store, "trials"):  # a store, or what reads like one
        yield store
    else:
        raise ConfigurationError(f"store={store!r:.200} is neither a TrialStore nor the path of one")


@contextlib.contextmanager
def store_to_read(store: TrialStore | str | os.PathLike[str]) -> Iterator[TrialStore]:
    """Do the same, of a file that is there.

    Raises:
        ConfigurationError: it is neither, or there is no such file.
    """
    if isinstance(store, str | os.PathLike):
        path = os.fspath(store)
        if not path.startswith("grpc://") and not os.path.exists(os.path.expanduser(path)):
            raise ConfigurationError(f"{path} does not exist: record trials into it first")
    with store_to_write(store) as opened:
        yield opened
