"""Deep Q-learning from Demonstrations, fed by people who take over while it learns.

Source: Hester et al., "Deep Q-learning from Demonstrations", AAAI 2018 (arXiv:1704.03732). Its equations have
no numbers; comments below name them by their symbols (J_DQ, J_E, J, all of the section "Deep Q-Learning from
Demonstrations") and by the lines of its Algorithm 1.

What differs from the paper: demonstrations fill a fixed share of each batch instead of being prioritised, and
returns are one-step (lambda_1 = 0). What is added: takeovers of a running trial are demonstrations, too.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import torch as th
from cogment_lab.integrations.sb3.fill import TransitionBatch, fill_replay_buffer, write_transitions
from cogment_lab.integrations.sb3.replay_buffers import (
    Boundary,
    TakeoverDictReplayBuffer,
    TakeoverReplayBuffer,
    holds_takeovers,
)
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.save_util import load_from_pkl, save_to_pkl
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.dqn.policies import DQNPolicy
from torch.nn import functional as F

from cogment_lab.errors import ConfigurationError, WrongBufferError
from cogment_lab.store import TrialQuery
from cogment_lab.store.given import store_to_read

if TYPE_CHECKING:
    from cogment_lab.integrations.unobserved import Unobserved

    from cogment_lab.store import TrialStore

__all__ = ["DQfD"]


class DQfD(DQN):
    """DQN with a second buffer of demonstrations and a large-margin loss on it.

    Every step in which a teacher's action is executed goes into both buffers; :meth:`add_demonstrations`
    fills the second one with recorded trials. ``learn``, ``predict``, ``save``, ``load``, callbacks and
    loggers are Stable-Baselines3's. Works with ``TrialCallback`` (for the page and the log) and without.

    Besides DQN's, it logs ``train/margin_loss``, ``train/td_loss`` and ``train/demo_size``.

    Args:
        policy: As in DQN, like every argument not named here.
        env: As in DQN.
        demo_ratio: Share of each batch that is drawn from the demonstrations, once there are any.
        margin: By how much a demonstrated action's value should exceed every other: ``l(a_E, a)``.
        margin_weight: Weight of that loss: ``lambda_2``.
        double_q: Let the online network choose the action that the target network values (J_DQ).
        pretrain_steps: Gradient steps on demonstrations alone when ``learn`` is first called (phase one).
        demo_buffer_size: How many demonstrated steps are kept; beyond that the oldest make way.
        boundary: What to make of the agent's step before a takeover; see :class:`TakeoverReplayBuffer`.
            One-step targets bootstrap there anyway, so ``"cut"`` is ``"through"`` here.
        switch_penalty: See ``boundary``.
        learning_rate: Of Adam. The following defaults suit control tasks with vector observations.
        buffer_size: Of the agent's own replay buffer.
        learning_starts: As in DQN.
        batch_size: Of both kinds of steps together.
        train_freq: As in DQN.
        gradient_steps: As in DQN; -1 is one per environment step.
        target_update_interval: As in DQN.
        exploration_fraction: As in DQN.
        exploration_final_eps: As in DQN.
        replay_buffer_class: One of this package's takeover buffers; chosen by the observation space by
            default.
        replay_buffer_kwargs: Passed to it.
        **dqn_kwargs: Passed to DQN. For the paper's L2 loss, give ``policy_kwargs={"optimizer_kwargs":
            {"weight_decay": 1e-5}}``.

    Raises:
        ConfigurationError: a parameter cannot work.
        WrongBufferError: a replay buffer that knows nothing of takeovers.

    Example:
        >>> import cogment_lab
        >>> from cogment_lab.algorithms import DQfD
        >>> env = cogment_lab.make("CartPole-v1", teacher=lambda observation: 0, store=None)
        >>> model = DQfD("MlpPolicy", env, learning_starts=10, policy_kwargs={"net_arch": [8]}).learn(20)
        >>> model.demo_buffer.size()
        20
    """

    demo_buffer: TakeoverReplayBuffer | TakeoverDictReplayBuffer

    def __init__(
        self,
        policy: str | type[DQNPolicy],
        env: GymEnv | str | None,
        *,
        demo_ratio: float = 0.5,
        margin: float = 0.8,
        margin_weight: float = 1.0,
        double_q: bool = True,
        pretrain_steps: int = 0,
        demo_buffer_size: int = 100_000,
        boundary: Boundary = "through",
        switch_penalty: float = 1.0,
        learning_rate: float | Schedule = 5e-4,
        buffer_size: int = 100_000,
        learning_starts: int = 1000,
        batch_size: int = 128,
        train_freq: int | tuple[int, str] = 4,
        gradient_steps: int = -1,
        target_update_interval: int = 250,
        exploration_fraction: float = 0.12,
        exploration_final_eps: float = 0.05,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: Mapping[str, Any] | None = None,
        _init_setup_model: bool = True,
        **dqn_kwargs: Any,
    ) -> None:
        if not 0.0 <= demo_ratio <= 1.0:
            raise ConfigurationError(f"demo_ratio={demo_ratio} is no share")
        if margin < 0.0 or margin_weight < 0.0:
            raise ConfigurationError(
                f"neither margin={margin} nor margin_weight={margin_weight} may be negative"
            )
        if pretrain_steps < 0:
            raise ConfigurationError(f"pretrain_steps={pretrain_steps} must not be negative")
        if demo_buffer_size < 1:
            raise ConfigurationError(f"demo_buffer_size={demo_buffer_size}: at least 1")
        if dqn_kwargs.get("n_steps", 1) != 1:
            raise ConfigurationError(f"n_steps={dqn_kwargs['n_steps']}: DQfD's returns are one-step here")
        self.demo_ratio = demo_ratio
        self.margin = margin
        self.margin_weight = margin_weight
        self.double_q = double_q
        self.pretrain_steps = pretrain_steps
        self.demo_buffer_size = demo_buffer_size
        self._pretrained = 0
        self._demonstrations_only = False
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]  # load() passes None
            learning_rate=learning_rate,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            batch_size=batch_size,
            train_freq=train_freq,
            gradient_steps=gradient_steps,
            target_update_interval=target_update_interval,
            exploration_fraction=exploration_fraction,
            exploration_final_eps=exploration_final_eps,
            replay_buffer_class=replay_buffer_class,
            replay_buffer_kwargs={
                "boundary": boundary,
                "switch_penalty": switch_penalty,
                **(replay_buffer_kwargs or {}),
            },
            _init_setup_model=_init_setup_model,
            **dqn_kwargs,
        )

    def _setup_model(self) -> None:
        is_dict = isinstance(self.observation_space, spaces.Dict)
        demo_class = TakeoverDictReplayBuffer if is_dict else TakeoverReplayBuffer
        if self.replay_buffer_class is None:
            self.replay_buffer_class = demo_class
        if not getattr(self.replay_buffer_class, "handles_takeovers", False):
            raise WrongBufferError(
                f"{self.replay_buffer_class.__name__} does not keep which steps were takeovers, which DQfD "
                f"needs: leave out replay_buffer_class, or pass {demo_class.__name__}"
            )
        super()._setup_model()
        self.demo_buffer = demo_class(
            self.demo_buffer_size, self.observation_space, self.action_space, device=self.device
        )

    # --- demonstrations ---

    def add_demonstrations(
        self,
        source: TrialStore | Path | str | TrialQuery | TransitionBatch | Iterable[TransitionBatch],
        *,
        env_id: str | None = None,
        trial_ids: Collection[str] | None = None,
        agent: str = "gym",
        unobserved: Unobserved = "warn",
    ) -> int:
        """Add recorded steps to the demonstrations: their executed actions, whoever decided them.

        Args:
            source: A store or its path, a query of one (``TrialStore.query``), or batches of transitions
                (``TrialStore.transitions``).
            env_id: From a store, only trials of this environment.
            trial_ids: From a store, only these trials.
            agent: From a store, whose steps.
            unobserved: From a store, what becomes of steps that were recorded without observations; see
                :func:`cogment_lab.integrations.sb3.fill_replay_buffer`.

        Returns:
            How many steps were added.

        Raises:
            WrongBufferError: they are of other spaces than the model's.
            ConfigurationError: there are none, no such file, or trials are chosen twice.
            TrialStateError: one of ``trial_ids`` still runs.
        """
        if isinstance(source, str | Path):
            with store_to_read(source) as store:
                return self.add_demonstrations(
                    store, env_id=env_id, trial_ids=trial_ids, agent=agent, unobserved=unobserved
                )
        found: Any = source
        choice: dict[str, Any] = {"env_id": env_id, "trial_ids": trial_ids, "agent": agent}
        if hasattr(source, "query"):
            found, choice = found.query(env=env_id, trial_ids=trial_ids, agent=agent), {}
        if isinstance(found, TrialQuery):
            added = fill_replay_buffer(self.demo_buffer, found, unobserved=unobserved, **choice)
        elif not isinstance(source, Iterable) and not hasattr(source, "observations"):
            raise ConfigurationError(
                f"source={source!r:.200} holds no demonstrations: pass a TrialStore, its path, a query, or "
                "batches of transitions"
            )
        else:
            added = write_transitions(self.demo_buffer, [found] if hasattr(source, "observations") else found)
        if not added:
            raise ConfigurationError(
                f"{source!r} holds no step of env_id={env_id!r}, trial_ids={trial_ids}, agent={agent!r}"
            )
        return added

    def save_demonstrations(self, path: str | Path | io.BufferedIOBase) -> None:
        """Save the demonstrations as a pickle file; ``save`` leaves them out, like the replay buffer."""
        save_to_pkl(path, self.demo_buffer, self.verbose)

    def load_demonstrations(self, path: str | Path | io.BufferedIOBase) -> None:
        """Load what :meth:`save_demonstrations` saved; only files that you trust."""
        self.demo_buffer = load_from_pkl(path, self.verbose)
        self.demo_buffer.device = self.device

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: npt.NDArray[Any],
        new_obs: npt.NDArray[Any] | dict[str, npt.NDArray[Any]],
        reward: npt.NDArray[Any],
        dones: npt.NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Store a step; those that a teacher decided become demonstrations as well."""
        row = replay_buffer.pos
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        assert holds_takeovers(replay_buffer)
        for index in np.flatnonzero(replay_buffer.is_intervention[row]):
            # In control without a hand on the controls: nobody showed anything.
            if not infos[index].get("is_fallback"):
                self._demonstrate(replay_buffer, row, int(index), infos[index])

    def _demonstrate(self, replay_buffer: ReplayBuffer, row: int, index: int, info: dict[str, Any]) -> None:
        one = slice(index, index + 1)
        if replay_buffer.optimize_memory_usage:
            following = replay_buffer.observations[(row + 1) % replay_buffer.buffer_size, one]
        else:
            following = _row(replay_buffer.next_observations, row, one)
        self.demo_buffer.add(
            _row(replay_buffer.observations, row, one),
            following,
            replay_buffer.actions[row, one],
            replay_buffer.rewards[row, one],
            replay_buffer.dones[row, one],
            [info],
        )

    # --- learning ---

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "DQfD",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn from demonstrations first, when told to, then from the environment; as in DQN."""
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        result = super()._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        if self.demo_buffer.size():
            self._pretrain()
        return result

    def _pretrain(self) -> None:
        """Learn from demonstrations before the first step of one's own (Algorithm 1, lines 2 to 7)."""
        self._demonstrations_only = True
        try:
            while self._pretrained < self.pretrain_steps:
                steps = min(self.target_update_interval, self.pretrain_steps - self._pretrained)
                self.train(steps, self.batch_size)
                polyak_update(self.q_net.parameters(), self.q_net_target.parameters(), self.tau)
                self._pretrained += steps
        finally:
            self._demonstrations_only = False

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Minimise J(Q) = J_DQ(Q) + lambda_2 J_E(Q) by ``gradient_steps`` steps of the optimiser."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        td_losses, margin_losses = [], []
        for _ in range(gradient_steps):
            n_demo = self._demonstrated(batch_size)
            batches = []
            if n_demo:
                batches.append(self.demo_buffer.sample(n_demo, env=self._vec_normalize_env))
            if n_demo < batch_size:
                assert self.replay_buffer is not None
                batches.append(self.replay_buffer.sample(batch_size - n_demo, env=self._vec_normalize_env))
            observations, actions, next_observations, dones, rewards = (
                _concatenate([getattr(batch, name) for batch in batches])
                for name in ("observations", "actions", "next_observations", "dones", "rewards")
            )

            values = self.q_net(observations)
            taken = values.gather(1, actions.long())
            # J_DQ(Q) = (R(s,a) + gamma Q(s_t+1, a_max; theta') - Q(s,a; theta))^2, a_max = argmax_a Q(s_t+1,
            # a; theta); as a Huber loss, like DQN's.
            td_loss = F.smooth_l1_loss(taken, self._targets(next_observations, dones, rewards))
            # J_E(Q) = max_a [Q(s,a) + l(a_E,a)] - Q(s,a_E), on demonstrations only (they come first); l is 0
            # for a = a_E and the margin for all others.
            margins = th.full_like(values[:n_demo], self.margin).scatter_(1, actions[:n_demo].long(), 0.0)
            violations = (values[:n_demo] + margins).max(1, keepdim=True).values - taken[:n_demo]
            margin_loss = violations.sum() / max(n_demo, 1)
            loss = td_loss + self.margin_weight * margin_loss  # J(Q)

            self.policy.optimizer.zero_grad()
            loss.backward()
            th.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            td_losses.append(td_loss.item())
            margin_losses.append(margin_loss.item())

        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/td_loss", np.mean(td_losses))
        self.logger.record("train/margin_loss", np.mean(margin_losses))
        self.logger.record("train/loss", np.mean(td_losses) + self.margin_weight * np.mean(margin_losses))
        self.logger.record("train/demo_size", self.demo_buffer.size())

    def _demonstrated(self, batch_size: int) -> int:
        """Return how many steps of a batch are demonstrations."""
        if not self.demo_buffer.size():
            return 0
        return batch_size if self._demonstrations_only else round(batch_size * self.demo_ratio)

    @th.no_grad()
    def _targets(self, next_observations: Any, dones: th.Tensor, rewards: th.Tensor) -> th.Tensor:
        next_values = self.q_net_target(next_observations)
        chooser = self.q_net(next_observations) if self.double_q else next_values
        best = next_values.gather(1, chooser.argmax(1, keepdim=True))
        targets: th.Tensor = rewards + (1 - dones) * self.gamma * best
        return targets

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "demo_buffer"]


def _row(observations: Any, row: int, one: slice) -> Any:
    if isinstance(observations, dict):
        return {key: part[row, one] for key, part in observations.items()}
    return observations[row, one]


def _concatenate(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], dict):
        return {key: th.cat([part[key] for part in parts]) for key in parts[0]}
    return th.cat(list(parts))
