"""Gradient steps whose cost is that of their arithmetic, for networks of many small layers."""

from __future__ import annotations

import torch as th
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

__all__ = ["Descent", "follow"]

_ELEMENTWISE = (th.optim.Adam, th.optim.AdamW, th.optim.NAdam, th.optim.RMSprop, th.optim.SGD)
"""Optimisers that treat each number by itself, whatever tensor it lies in."""


class Descent:
    """Steps of an optimiser, whose parameters move into one tensor that the layers' are views of.

    An update of all of them is then one operation; as 12 tensors, those of two critics cost more than their
    forward pass. Results are the same. Parameters of unusual optimisers stay where they are, as do those of
    an optimiser that shares some with another descent; frozen ones are left alone.

    Args:
        optimizer: Has made no step yet.
    """

    def __init__(self, optimizer: th.optim.Optimizer) -> None:
        self.optimizer = optimizer
        parts = [part for group in optimizer.param_groups for part in group["params"]]
        self._parameters = [part for part in parts if part.requires_grad]
        self._vector: nn.Parameter | None = None
        is_shared = any(part.grad is not None for part in self._parameters)
        if isinstance(optimizer, _ELEMENTWISE) and len(optimizer.param_groups) == 1 and not is_shared:
            self._vector = nn.Parameter(parameters_to_vector(self._parameters).detach())
            self._join(self._vector)
            optimizer.param_groups[0]["params"] = [self._vector]

    def step(self, loss: th.Tensor) -> None:
        """Make one step down the gradient of a loss; only of the optimiser's parameters is it computed."""
        vector = self._vector
        if vector is None:
            self.optimizer.zero_grad(set_to_none=False)  # a shared one's gradient is a view, and stays it
        else:
            if vector.data_ptr() != self._parameters[0].data_ptr():  # copied or converted since
                vector.data = parameters_to_vector(self._parameters).detach()
                self._join(vector)
            self._gradient.zero_()
        loss.backward(inputs=self._parameters)  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _join(self, vector: nn.Parameter) -> None:
        """Make the parameters, and their gradients, views of one tensor's."""
        vector_to_parameters(vector.data, self._parameters)
        self._gradient = vector.grad = th.zeros_like(vector)
        sizes = [part.numel() for part in self._parameters]
        for part, gradient in zip(self._parameters, th.split(self._gradient, sizes), strict=True):
            part.grad = gradient.view_as(part)


def follow(target: nn.Module, network: nn.Module, tau: float) -> None:
    """Move a target network towards another, by a share ``tau``: SB3's ``polyak_update`` in one operation."""
    with th.no_grad():
        th._foreach_lerp_(list(target.parameters()), list(network.parameters()), tau)
