"""Actors that ask a Stable-Baselines3 model."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cogment_lab.core import CogmentActor
from cogment_lab.errors import ConfigurationError, MissingExtraError

__all__ = ["SB3Actor"]


class SB3Actor(CogmentActor[Any, Any]):
    """Does what a saved model predicts.

    It can be served, and :func:`cogment_lab.run` and :func:`cogment_lab.make` take it where they take a
    policy.

    Args:
        path: The model's zip file.
        algorithm: Its class, ``"PPO"`` say, of stable_baselines3 or sb3_contrib; ``None`` finds it by what
            the file says of the model.
        deterministic: Whether to take the best action instead of a sample.
        device: Where it runs.

    Raises:
        ConfigurationError: no such file or algorithm, or the file does not say which one it is of.
        MissingExtraError: stable-baselines3 is not installed.
    """

    _wants_frames = False

    def __init__(
        self,
        path: str | Path,
        algorithm: str | None = None,
        deterministic: bool = True,
        device: str = "cpu",
    ) -> None:
        super().__init__(path, algorithm, deterministic, device)
        file = Path(path) if Path(path).exists() else Path(f"{path}.zip")
        if not file.exists():
            raise ConfigurationError(f"there is no model file {str(path)!r}")
        name = algorithm or _find_algorithm(file)
        made = _class(name)
        self.deterministic = deterministic
        try:
            self.model = made.load(path, device=device)
        except Exception as error:
            raise ConfigurationError(
                f"{str(file)!r} cannot be loaded as {name} ({type(error).__name__}: {error}): name its "
                "algorithm, as in SB3Actor(path, 'DQN')"
            ) from error
        self._state: Any = None

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Return the predicted action."""
        action, self._state = self.model.predict(
            observation, state=self._state, deterministic=self.deterministic
        )
        return action


_ENTRIES: tuple[tuple[str, frozenset[str]], ...] = (
    ("ARS", frozenset({"delta_std_schedule"})),
    ("QRDQN", frozenset({"replay_buffer_class", "n_quantiles"})),
    ("TQC", frozenset({"replay_buffer_class", "top_quantiles_to_drop_per_net"})),
    ("CrossQ", frozenset({"replay_buffer_class", "target_entropy", "policy_delay"})),
    ("SAC", frozenset({"replay_buffer_class", "target_entropy"})),
    ("TD3", frozenset({"replay_buffer_class", "target_policy_noise"})),  # DDPG is a TD3 of other numbers
    ("DQN", frozenset({"replay_buffer_class", "exploration_rate"})),
    ("TRPO", frozenset({"rollout_buffer_class", "cg_max_steps"})),
    ("PPO", frozenset({"rollout_buffer_class", "clip_range"})),
    ("A2C", frozenset({"rollout_buffer_class", "normalize_advantage"})),
)
"""What only files of that algorithm say, those first that say more than another."""

_PPO_BY_POLICY = {
    "stable_baselines3.common.policies": "PPO",
    "sb3_contrib.common.maskable.policies": "MaskablePPO",
    "sb3_contrib.common.recurrent.policies": "RecurrentPPO",
}
"""By the module of the policy's class: the same is said of the three."""


def _find_algorithm(file: Path) -> str:
    """Return whose file this is, from its JSON; what is pickled there is left as it is."""
    try:
        with zipfile.ZipFile(file) as archive:
            said = json.loads(archive.read("data"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigurationError(f"{str(file)!r} is no file of a Stable-Baselines3 model: {error}") from error
    names = set(said) if isinstance(said, Mapping) else set()
    found = next((name for name, entries in _ENTRIES if entries <= names), None)
    if found == "PPO":
        policy = said.get("policy_class")
        module = policy.get("__module__") if isinstance(policy, Mapping) else None
        found = _PPO_BY_POLICY.get(str(module))
    if found is None:
        raise ConfigurationError(
            f"{str(file)!r} does not say which algorithm it is of: name it, as in SB3Actor(path, 'PPO'); a "
            "model that is none of stable_baselines3 or sb3_contrib can be loaded by its own class and "
            "passed as it is"
        )
    return found


def _class(algorithm: str) -> Any:
    try:
        import stable_baselines3
    except ImportError as error:
        raise MissingExtraError("SB3Actor needs stable-baselines3: pip install 'cogment_lab[sb3]'") from error
    modules = [stable_baselines3]
    try:
        import sb3_contrib

        modules.append(sb3_contrib)
    except ImportError:
        pass
    for module in modules:
        if hasattr(module, algorithm):
            return getattr(module, algorithm)
    raise ConfigurationError(f"{algorithm!r} is no algorithm of stable_baselines3 or sb3_contrib")
