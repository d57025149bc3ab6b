"""Actors that ask a torch network."""

from __future__ import annotations

from typing import Any

import numpy as np

from cogment_lab.core import CogmentActor
from cogment_lab.errors import MissingExtraError

try:
    import torch
    from torch import nn
except ImportError as error:
    raise MissingExtraError("actors with networks need torch: pip install 'cogment_lab[sb3]'") from error

__all__ = ["BoltzmannActor", "NNActor"]


class NNActor(CogmentActor[Any, Any]):
    """Does what a Q-network finds best, and now and then something random.

    Args:
        network: From an observation ``(*shape) float32`` to action values ``(n,)``, ``(1, n)`` or ``[(n,)]``.
        device: Where it runs.

    Attributes:
        eps: Probability of a random action.
    """

    _wants_frames = False

    def __init__(self, network: nn.Module, device: str = "cpu") -> None:
        super().__init__(network, device)
        self.network = network.to(device)
        self.device = device
        self.eps = 0.0
        self.rng = np.random.default_rng()

    async def act(self, observation: Any, rendered_frame: Any = None) -> int:
        """Return the index of the largest value, or with probability ``eps`` any."""
        values = self.values(observation)
        if self.eps > 0.0 and self.rng.random() < self.eps:
            return int(self.rng.integers(len(values)))
        return int(values.argmax().item())

    def values(self, observation: Any) -> torch.Tensor:
        """Return the network's values of one observation, ``(n,)``."""
        seen = torch.as_tensor(np.asarray(observation), dtype=torch.float32, device=self.device)
        with torch.no_grad():
            answer = self.network(seen)
        values: torch.Tensor = answer[0] if isinstance(answer, list | tuple) else answer
        return values.reshape(-1)

    def set_eps(self, eps: float) -> None:
        """Set the probability of a random action."""
        self.eps = eps


class BoltzmannActor(NNActor):
    """Samples actions by the softmax of a network's values.

    Args:
        network: As for :class:`NNActor`.
        device: Where it runs.
        temperature: Divides the values; small is greedy.
    """

    def __init__(self, network: nn.Module, device: str = "cpu", temperature: float = 1.0) -> None:
        super().__init__(network, device)
        self.args = (network, device, temperature)
        self.temperature = temperature

    def set_temperature(self, temperature: float) -> None:
        """Set what the values are divided by."""
        self.temperature = temperature

    async def act(self, observation: Any, rendered_frame: Any = None) -> int:
        """Return a sampled index."""
        chances = torch.softmax(self.values(observation) / self.temperature, dim=-1)
        return int(torch.multinomial(chances, 1).item())
