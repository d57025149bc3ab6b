"""From a spec file to modules that a context takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from cogment_lab.cli.generate import generate
from cogment_lab.errors import ConfigurationError

SPEC = """
import: {proto: [game.proto, more/odd-name.proto]}
trial: {config_type: game.Rules}
environment: {config_type: odd.Outer.Inner}
actor_classes:
  - name: walker
    action: {space: game.Move}
    observation: {space: odd.Outer}
    config_type: game.Rules
  - name: stroller
    action: {space: game.Move}
    observation: {space: Loose}
"""
GAME = """
syntax = "proto3";
package game;
message Rules { int32 size = 1; }
message Move { int32 steps = 1; }
"""
ODD = """
syntax = "proto3";
package odd;
message Outer { message Inner { string text = 1; } Inner inner = 1; }
"""
LOOSE = 'syntax = "proto3"; message Loose { bool yes = 1; }'
USE = """
import asyncio, cog_settings as s
from cogment_lab.wire import Context
walker = s.actor_classes.walker
assert [one.name for one in s.actor_classes] == ["walker", "stroller"]
assert walker.config_type is s.trial.config_type is not None
assert walker.action_space(steps=3).SerializeToString() == b"\\x08\\x03"
assert s.environment.config_type.DESCRIPTOR.full_name == "odd.Outer.Inner"
assert s.actor_classes["stroller"].config_type is None
assert s.actor_classes["stroller"].observation_space(yes=True).yes
async def main():
    assert Context("me", s).has_specs()
asyncio.run(main())
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    (tmp_path / "game.proto").write_text(GAME)
    (tmp_path / "more" / "odd-name.proto").write_text(ODD)
    (tmp_path / "loose.proto").write_text(LOOSE)
    path = tmp_path / "cogment.yaml"
    path.write_text(SPEC.replace("[game.proto,", "[game.proto, loose.proto,"))
    return path


def test_what_is_written_is_what_a_context_takes(spec: Path, tmp_path: Path, cogmentlab) -> None:
    output = tmp_path / "application" / "cog_settings.py"
    printed = cogmentlab.output("generate", "--spec", str(spec), "--output", str(output)).decode().split()
    assert [Path(line).relative_to(output.parent).as_posix() for line in printed] == [
        *("cog_settings.py", "game_pb2.py", "loose_pb2.py", "more/odd_name_pb2.py"),
    ]
    done = subprocess.run([sys.executable, "-c", USE], cwd=output.parent, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_nothing_is_written_for_a_spec_that_is_wrong(spec: Path, tmp_path: Path) -> None:
    output = tmp_path / "application" / "cog_settings.py"
    for old, new, complaint in (
        ("game.Move", "game.Leap", r"no message 'game\.Leap' in game\.proto"),
        ("loose.proto", "lost.proto", "cannot be compiled.*lost"),
        ("action:", "deed:", "lacks something"),
    ):
        spec.write_text(SPEC.replace("[game.proto,", "[game.proto, loose.proto,").replace(old, new))
        with pytest.raises(ConfigurationError, match=rf"(?s){complaint}"):
            generate(spec, output)
    with pytest.raises(ConfigurationError, match=r"cannot read the spec file nowhere\.yaml"):
        generate(Path("nowhere.yaml"), output)
    assert not output.parent.exists()
