"""From an offline algorithm into one that goes on by trial and error, without unlearning on the way.

An actor that was copied beside a fresh critic is lost within a few hundred steps: the critic prefers
anything, and the actor follows. So the critic learns what the data say about the actor first (``warm_up``),
with the calibrated regulariser of Cal-QL, and the data stay in the replay buffer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch as th
from cogment_lab.algorithms.normalization import folded_state
from cogment_lab.algorithms.offline_batches import OfflineBuffer
from cogment_lab.algorithms.warm_up import CONSERVATISM, hold_critic, warm_up_critic, warm_up_values
from cogment_lab.integrations.sb3.fill import write_transitions
from gymnasium import spaces
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, ContinuousCritic
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.td3.policies import Actor as TD3Actor
from torch import nn

from cogment_lab.errors import ConfigurationError

if TYPE_CHECKING:
    from cogment_lab.algorithms.offline import OfflineAlgorithm

__all__ = ["hand_over"]

_WARM_UP_STEPS = 2000
_HOLD_STEPS = 10_000
_FIRST_TEMPERATURE = 0.01
_FIRST_LOG_STD = -2.0
_LEAST_LOG_STD = -3.0
"""Of PPO's and A2C's Gaussian, in units of half an action's range."""


def hand_over(
    source: OfflineAlgorithm,
    model: BaseAlgorithm,
    *,
    warm_up: int | None = None,
    fill_buffer: bool = True,
    hold: int | None = None,
) -> None:
    """Copy what was learned offline into SAC, TD3, PPO, A2C or DQN, in place.

    The actor is copied; a critic too, where both have one, in units of the unscaled reward. Off-policy models
    then have ``learning_starts = 0`` (else ``learn`` would begin with random actions), and SAC's automatic
    temperature starts at 0.01: at its usual 1.0 it would ask for random actions as well. PPO's and A2C's
    Gaussians are widened to 0.05 of half an action's range, if cloning has left them narrower.

    Args:
        source: What learned offline.
        model: What goes on; its policy must have the same architecture (``policy_kwargs``).
        warm_up: Gradient steps of the critic alone. By default 2000, and none after CQL, Cal-QL and
            DiscreteCQL, whose values already hold back actions that nobody tried.
        fill_buffer: Put the data into the replay buffer.
        hold: Critic steps on line, of SAC or TD3, whose loss keeps Cal-QL's regulariser on states of the
            data; its weight falls to 0 over them. By default 10,000 after Cal-QL, and 0 otherwise. It is no
            part of a saved model.

    Raises:
        ConfigurationError: they do not fit together; the message says what would.
    """
    if model.action_space != source.action_space or model.observation_space != source.observation_space:
        raise ConfigurationError(
            f"the model's spaces are {model.observation_space} -> {model.action_space}, the data's "
            f"{source.observation_space} -> {source.action_space}: they must be the same"
        )
    if model.get_vec_normalize_env() is not None:
        raise ConfigurationError(
            "the model's environment is in a VecNormalize, but what was learned offline takes observations "
            "and rewards as they are: leave VecNormalize out (TD3BC normalises inside its networks)"
        )
    steps = (0 if source.is_conservative else _WARM_UP_STEPS) if warm_up is None else warm_up
    if steps and source.data is None:
        raise ConfigurationError(
            "to warm the critic up, this model needs data: call set_data(), or warm_up=0"
        )
    held = (_HOLD_STEPS if source.is_calibrated else 0) if hold is None else hold
    if not isinstance(model, SAC | TD3):
        if hold:
            raise ConfigurationError(
                f"hold={hold}: {type(model).__name__} has no critic of actions to hold; SAC and TD3 have"
            )
        held = 0
    if held and source.data is None:
        if hold is not None:
            raise ConfigurationError(f"hold={hold} needs data: call set_data(), or hold=0")
        held = 0
    if isinstance(source.policy, DQNPolicy) and isinstance(model, DQN):
        _copy_values(source.policy, model, source.scaled_by)
    elif isinstance(model, SAC | TD3) and hasattr(source.policy, "actor"):
        _copy_actor_and_critic(source, model)
    elif isinstance(model, OnPolicyAlgorithm) and isinstance(source.policy, ActorCriticPolicy):
        _load(model.policy, source.policy.state_dict(), "policy")
        _keep_exploring(model)
    else:
        raise _no_way(source, model)
    buffer = None
    if steps or held:
        assert source.data is not None
        assert isinstance(model, OffPolicyAlgorithm | OnPolicyAlgorithm)
        buffer = OfflineBuffer(
            source.data, source.observation_space, 1.0, model.gamma, model.device, source.seed
        )
    if isinstance(model, OffPolicyAlgorithm):
        model.learning_starts = 0
        if fill_buffer and source.data is not None:
            assert model.replay_buffer is not None
            write_transitions(model.replay_buffer, [source.data])
        if buffer is not None and isinstance(model, SAC | TD3):
            warm_up_critic(model, buffer, steps, source.batch_size)
            if held:
                weight = getattr(source, "conservatism", CONSERVATISM * source.scaled_by) / source.scaled_by
                hold_critic(model, buffer, held, weight)
    elif buffer is not None:
        assert isinstance(model.policy, ActorCriticPolicy)
        warm_up_values(model.policy, buffer, steps, source.batch_size)


def _no_way(source: OfflineAlgorithm, model: BaseAlgorithm) -> ConfigurationError:
    name = type(model).__name__
    hint = "SAC or TD3" if hasattr(source.policy, "actor") else "PPO or A2C"
    if isinstance(model, OnPolicyAlgorithm):
        hint += f"; for {name}, learn with BC(..., actor_of={name})"
    if isinstance(model, DQN):
        hint += "; for DQN, learn with DiscreteCQL, or give the trials to DQfD.add_demonstrations"
    if isinstance(source.policy, DQNPolicy):
        hint = "DQN"
    return ConfigurationError(f"a {type(source).__name__} cannot go into {name}; it goes into {hint}")


def _copy_values(source: DQNPolicy, model: DQN, scaled_by: float) -> None:
    _load(model.policy.q_net, source.q_net.state_dict(), "q_net")
    _rescale_last([model.policy.q_net.q_net], scaled_by)
    model.policy.q_net_target.load_state_dict(model.policy.q_net.state_dict())
    # Its exploration would be random, too.
    model.exploration_schedule = FloatSchedule(model.exploration_final_eps)
    model.exploration_rate = model.exploration_final_eps


def _copy_actor_and_critic(source: OfflineAlgorithm, model: SAC | TD3) -> None:
    from_actor, to_actor = source.policy.actor, model.policy.actor
    assert isinstance(from_actor, SACActor | TD3Actor) and isinstance(to_actor, SACActor | TD3Actor)
    if isinstance(from_actor, type(to_actor)):
        _load(to_actor, folded_state(from_actor), "actor")
    else:
        _copy_mean(from_actor, to_actor)
    if isinstance(model, TD3):
        model.policy.actor_target.load_state_dict(to_actor.state_dict())
    elif model.ent_coef_optimizer is not None and model.log_ent_coef is not None:
        log_temperature = getattr(source, "log_ent_coef", None)
        start = np.log(_FIRST_TEMPERATURE)
        if isinstance(log_temperature, th.Tensor):
            start = float(log_temperature.detach()) - np.log(source.scaled_by)
        model.log_ent_coef.data.fill_(start)
    if source.has_critic:
        critic = source.policy.critic
        assert isinstance(critic, ContinuousCritic)
        _load(model.policy.critic, folded_state(critic), "critic")
        _rescale_last(model.policy.critic.q_networks, source.scaled_by)
        model.policy.critic_target.load_state_dict(model.policy.critic.state_dict())


def _keep_exploring(model: OnPolicyAlgorithm) -> None:
    """Widen a Gaussian that cloning made narrow: the ratios of its densities would leap at each update."""
    space, log_std = model.action_space, getattr(model.policy, "log_std", None)
    if isinstance(space, spaces.Box) and isinstance(log_std, th.Tensor) and not model.use_sde:
        half = 0.5 * (space.high - space.low).ravel()
        floor = th.as_tensor(np.log(half) + _LEAST_LOG_STD, dtype=log_std.dtype, device=log_std.device)
        log_std.data = th.maximum(log_std.data, floor)


def _copy_mean(source: SACActor | TD3Actor, target: SACActor | TD3Actor) -> None:
    """Copy the deterministic action between SAC's and TD3's actors: the same layers, differently named."""
    state = folded_state(source)
    to_layers = [parameter for _, parameter in _mean_layers(target)]
    from_layers = [state[name] for name, _ in _mean_layers(source)]
    if [p.shape for p in to_layers] != [p.shape for p in from_layers]:
        raise _misfit("actor", f"{[tuple(p.shape) for p in from_layers]}")
    for parameter, value in zip(to_layers, from_layers, strict=True):
        parameter.data.copy_(value)
    if isinstance(target, SACActor):
        head = target.log_std
        assert isinstance(head, nn.Linear)
        head.weight.data.zero_()
        head.bias.data.fill_(_FIRST_LOG_STD)


def _mean_layers(actor: SACActor | TD3Actor) -> list[tuple[str, nn.Parameter]]:
    return [named for named in actor.named_parameters() if not named[0].startswith("log_std")]


def _load(module: nn.Module, values: dict[str, Any], what: str) -> None:
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    if {name: tuple(value.shape) for name, value in module.state_dict().items()} != shapes:
        raise _misfit(what, f"{shapes}")
    module.load_state_dict(values)


def _misfit(what: str, shapes: str) -> ConfigurationError:
    return ConfigurationError(
        f"the model's {what} has other layers than the one that was learned ({shapes:.300}): make the model "
        "with the same policy_kwargs"
    )


def _rescale_last(networks: Iterable[nn.Module], scaled_by: float) -> None:
    """Bring values that were learned from scaled rewards back to the rewards' own units; exact."""
    for network in networks:
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        last.weight.data.div_(scaled_by)
        last.bias.data.div_(scaled_by)
