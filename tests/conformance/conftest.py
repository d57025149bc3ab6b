"""Our orchestrator against peers that follow the protocol to the letter, or break it on purpose."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def play():
    """Run ``scenario(world)`` in an event loop with an orchestrator, and a deadline."""
    from stage import run_in_world

    return run_in_world
