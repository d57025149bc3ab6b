"""Examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import cogment_lab

_ROOTS = ("cogment_lab", "cogment_lab.integrations", "cogment_lab.algorithms")
_PROGRAMS = {"cogment_lab.humans.web.server", "cogment_lab.cli.main"}


def modules() -> list[str]:
    names = set()
    for root in _ROOTS:
        package = importlib.import_module(root)
        names |= {info.name for info in pkgutil.walk_packages(package.__path__, f"{root}.")}
    return sorted(name for name in names - _PROGRAMS if ".generated" not in name)


@pytest.mark.parametrize("name", modules())
def test_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} says nothing about itself"
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    assert any(test.examples for test in finder.find(importlib.import_module("cogment_lab.trial.takeover")))
    assert cogment_lab.make.__doc__ is not None and ">>>" in cogment_lab.make.__doc__
