"""Trial data under the import path of Cogment Lab 0.1.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cogment_lab.specs import AgentSpecs
from cogment_lab.store import TrialData, concatenate
from cogment_lab.wire.datastore import Datastore
from cogment_lab.wire.trial_data import load_trial

__all__ = ["TrialData", "concatenate", "format_data_multiagent"]


async def format_data_multiagent(
    datastore: Datastore,
    trial_id: str,
    actor_agent_specs: Mapping[str, AgentSpecs],
    fields: Sequence[str] = (),
    use_tqdm: bool = False,
    tqdm_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, TrialData]:
    """Return a trial's data by agent, once it has ended.

    Args:
        datastore: Where it is stored.
        trial_id: The trial.
        actor_agent_specs: What each agent sees and does.
        fields: Has no effect any more: everything is there.
        use_tqdm: Likewise.
        tqdm_kwargs: Likewise.
    """
    specs = {name: each.serialize() for name, each in actor_agent_specs.items()}
    return await load_trial(datastore.stub, trial_id, specs)
