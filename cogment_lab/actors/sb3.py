"""Actors that ask a Stable-Baselines3 model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cogment_lab.core import CogmentActor
from cogment_lab.errors import ConfigurationError, MissingExtraError

__all__ = ["SB3Actor"]


class SB3Actor(CogmentActor[Any, Any]):
    """Does what a saved model predicts.

    Args:
        path: The model's zip file.
        algorithm: Its class, ``"PPO"`` say, of stable_baselines3 or sb3_contrib.
        deterministic: Whether to take the best action instead of a sample.
        device: Where it runs.

    Raises:
        ConfigurationError: no such file or algorithm.
        MissingExtraError: stable-baselines3 is not installed.
    """

    _wants_frames = False

    def __init__(
        self, path: str | Path, algorithm: str = "PPO", deterministic: bool = True, device: str = "cpu"
    ) -> None:
        super().__init__(path, algorithm, deterministic, device)
        if not Path(path).exists() and not Path(f"{path}.zip").exists():
            raise ConfigurationError(f"there is no model file {str(path)!r}")
        self.deterministic = deterministic
        self.model = _class(algorithm).load(path, device=device)

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Return the predicted action."""
        action, _ = self.model.predict(observation, deterministic=self.deterministic)
        return action


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
