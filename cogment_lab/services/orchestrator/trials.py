"""The trials of one orchestrator: starting them, finding them, forgetting them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable

from cogment_lab.services.orchestrator.addresses import AddressBook
from cogment_lab.services.orchestrator.datalog import DatalogWriter
from cogment_lab.services.orchestrator.hooks import check_parameters, run_hook
from cogment_lab.services.orchestrator.settings import OrchestratorSettings
from cogment_lab.services.orchestrator.trial import Trial
from cogment_lab.services.orchestrator.watch import Watcher, Watchers
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.generated.common_pb2 import SerializedMessage, TrialParams

__all__ = ["Trials"]


class Trials:
    """Every trial in memory, by id.

    Args:
        settings: Those of the orchestrator.
        addresses: Finds the components.
        default_params: Parameters of trials that are started by configuration.
        on_ended: Called with each trial that ends, and how long it ran in seconds.
    """

    def __init__(
        self,
        settings: OrchestratorSettings,
        addresses: AddressBook,
        default_params: TrialParams,
        on_ended: Callable[[float], None],
    ) -> None:
        self.watchers = Watchers()
        self._settings = settings
        self._addresses = addresses
        self._default_params = default_params
        self._on_ended = on_ended
        self._trials: dict[str, Trial] = {}

    async def start(
        self,
        *,
        requested_id: str,
        user_id: str,
        config: SerializedMessage | None,
        params: TrialParams | None,
    ) -> str:
        """Start a trial and return its id; ``""`` when the requested one is in use (protocol section 6.1).

        Raises:
            ConfigurationError: parameters that no trial can run with.
            ServiceError: a hook failed, or a component cannot be found.
        """
        trial_id = requested_id or str(uuid.uuid4())
        if trial_id in self._trials:
            return ""
        trial = Trial(trial_id, user_id, self._settings.deadlines, self._on_state)
        self._trials[trial_id] = trial
        try:
            final = TrialParams()
            if params is not None:
                final.CopyFrom(params)
            else:
                final.CopyFrom(self._default_params)
                if config is not None:
                    final.trial_config.CopyFrom(config)
                for hook in self._settings.pre_trial_hooks:
                    stub = await self._addresses.hook(hook)
                    deadline = self._settings.deadlines.hook
                    final = await run_hook(stub, final, trial_id, user_id, deadline)
            if not final.max_inactivity:
                final.max_inactivity = self._settings.max_inactivity
            await self._prepare(trial, final)
        except BaseException as error:
            await trial.end_hard(str(error))
            del self._trials[trial_id]
            raise
        trial.start()
        return trial_id

    async def _prepare(self, trial: Trial, params: TrialParams) -> None:
        rules = check_parameters(params)
        env = await self._addresses.env(params.environment)
        actors = [await self._addresses.actor(actor) for actor in params.actors]
        datalog = None
        if params.datalog.endpoint:
            stub = await self._addresses.datalog(params.datalog.endpoint)
            datalog = DatalogWriter(stub, trial.trial_id, trial.user_id, params)
        trial.prepare(params, rules, env, actors, datalog)

    def find(self, trial_id: str) -> Trial | None:
        """Return a trial by id."""
        return self._trials.get(trial_id)

    def select(self, trial_ids: Iterable[str]) -> list[Trial]:
        """Return the trials of these ids, unknown ones left out; all for no ids."""
        wanted = list(trial_ids)
        if not wanted:
            return list(self._trials.values())
        return [self._trials[trial_id] for trial_id in wanted if trial_id in self._trials]

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` of every trial in memory, and from now on of each change."""
        for trial in self._trials.values():
            watcher.notify(trial.info())
        self.watchers.add(watcher)

    async def close(self) -> None:
        """End every trial hard, and wait until nothing of them runs."""
        for trial in list(self._trials.values()):
            await trial.end_hard("The orchestrator stops")
        for trial in list(self._trials.values()):
            await trial.released()
        self.watchers.close()

    def _on_state(self, trial: Trial) -> None:
        if self.watchers:
            self.watchers.notify(trial.info())
        if trial.state is TrialState.ENDED:
            self._on_ended(trial.duration)
            self._forget_old()

    def _forget_old(self) -> None:
        ended = [key for key, trial in self._trials.items() if trial.state is TrialState.ENDED]
        for key in ended[: max(0, len(ended) - self._settings.ended_trials)]:
            del self._trials[key]
