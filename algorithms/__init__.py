"""Human-in-the-loop and offline algorithms on Stable-Baselines3's classes, one file each."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from cogment_lab.errors import MissingExtraError

if TYPE_CHECKING:
    from cogment_lab.algorithms.awac import AWAC
    from cogment_lab.algorithms.bc import BC
    from cogment_lab.algorithms.cal_ql import CalQL
    from cogment_lab.algorithms.cql import CQL
    from cogment_lab.algorithms.credit import assign_credit
    from cogment_lab.algorithms.discrete_cql import DiscreteCQL
    from cogment_lab.algorithms.dqfd import DQfD
    from cogment_lab.algorithms.iql import IQL
    from cogment_lab.algorithms.td3_bc import TD3BC

_MODULES = {
    "AWAC": "awac",
    "BC": "bc",
    "CQL": "cql",
    "IQL": "iql",
    "TD3BC": "td3_bc",
    "CalQL": "cal_ql",
    "DQfD": "dqfd",
    "DiscreteCQL": "discrete_cql",
    "assign_credit": "credit",
}
_WITHOUT_TORCH = {"credit"}

__all__ = ["AWAC", "BC", "CQL", "IQL", "TD3BC", "CalQL", "DQfD", "DiscreteCQL", "assign_credit"]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if module not in _WITHOUT_TORCH and importlib.util.find_spec("stable_baselines3") is None:
        raise MissingExtraError(
            f'cogment_lab.algorithms.{name} needs Stable-Baselines3: pip install "cogment_lab[sb3]"'
        )
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
