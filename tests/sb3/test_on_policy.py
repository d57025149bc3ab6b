"""PPO and A2C with a teacher: relabel, mask, bc, and what is refused."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from cogment_lab.integrations.sb3 import MaskedDictRolloutBuffer, MaskedRolloutBuffer, TrialCallback
from sb3_contrib import TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback

from cogment_lab.errors import ConfigurationError, OnPolicyModeRequired, WrongBufferError
from cogment_lab.humans import SimulatedHuman


def make_ppo(env, algorithm=PPO, **kwargs):
    sizes = {"n_steps": 32}
    if algorithm is not A2C:
        sizes.update(batch_size=32)
    if algorithm is PPO:
        sizes.update(n_epochs=1)
    is_dict = isinstance(env.observation_space, gym.spaces.Dict)
    policy = "MultiInputPolicy" if is_dict else "MlpPolicy"
    kwargs = {"policy_kwargs": {"net_arch": [8]}, "seed": 1, "device": "cpu", **sizes, **kwargs}
    return algorithm(policy, env, **kwargs)


class KeepRollout(BaseCallback):
    """Copy the complete rollout before the algorithm rearranges it, and the policy that collected it."""

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        buffer = self.model.rollout_buffer
        self.rollout = {
            name: getattr(buffer, name).copy()
            for name in ("observations", "actions", "log_probs", "advantages", "values", "returns")
        }
        with torch.no_grad():
            observations = torch.as_tensor(self.rollout["observations"][:, 0])
            actions = torch.as_tensor(self.rollout["actions"][:, 0])
            if isinstance(self.model.action_space, gym.spaces.Discrete):
                actions = actions.flatten()
            _, log_prob, _ = self.model.policy.evaluate_actions(observations, actions)
        self.log_prob = log_prob.numpy()


def test_ppo_with_a_teacher_needs_a_mode(make, always_zero):
    with pytest.raises(OnPolicyModeRequired, match="on_policy='mask'"):
        make_ppo(make("CartPole-v1", always_zero)).learn(32, callback=TrialCallback())


def test_ppo_without_a_teacher_needs_none(make):
    make_ppo(make("CartPole-v1")).learn(32, callback=TrialCallback())


def test_an_off_policy_algorithm_takes_no_mode(make, always_zero):
    from stable_baselines3 import DQN

    with pytest.raises(ConfigurationError, match="leave it out"):
        DQN("MlpPolicy", make("CartPole-v1", always_zero)).learn(8, callback=TrialCallback(on_policy="mask"))


@pytest.mark.parametrize("algorithm", [RecurrentPPO, MaskablePPO])
def test_algorithms_that_collect_in_their_own_way_are_refused(algorithm, make, always_zero):
    policy = "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy"
    model = algorithm(policy, make("CartPole-v1", always_zero), n_steps=32, batch_size=32)
    with pytest.raises(ConfigurationError, match="way of its own"):
        model.learn(32, callback=TrialCallback(on_policy="mask"))


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_relabelled_log_probabilities_are_the_policys(algorithm, make, every_third_tick):
    keep = KeepRollout()
    model = make_ppo(make("CartPole-v1", every_third_tick), algorithm)
    model.learn(32, callback=[TrialCallback(on_policy="relabel"), keep])
    np.testing.assert_array_equal(keep.rollout["actions"][2::3], 0)
    np.testing.assert_allclose(keep.rollout["log_probs"][:, 0], keep.log_prob, atol=1e-5)


@pytest.mark.parametrize("squash", [False, True])
def test_relabelled_continuous_actions_are_in_the_units_of_the_policy(squash, make, always_one_newton_metre):
    keep = KeepRollout()
    model = make_ppo(
        make("Pendulum-v1", always_one_newton_metre),
        use_sde=squash,
        policy_kwargs={"net_arch": [8], **({"squash_output": True} if squash else {})},
    )
    model.learn(32, callback=[TrialCallback(on_policy="relabel"), keep])
    np.testing.assert_allclose(keep.rollout["actions"], 0.5 if squash else 1.0)
    if not squash:  # the noise matrix of gSDE is another one by now
        np.testing.assert_allclose(keep.rollout["log_probs"][:, 0], keep.log_prob, atol=1e-5)


def test_relabelled_log_probabilities_have_a_floor(make):
    teacher = SimulatedHuman(lambda observation: np.array([2.0], np.float32))
    keep = KeepRollout()
    model = make_ppo(make("Pendulum-v1", teacher), policy_kwargs={"net_arch": [8], "log_std_init": -4.0})
    model.learn(32, callback=[TrialCallback(on_policy="relabel", log_prob_floor=-20.0), keep])
    assert keep.log_prob.max() < -20.0
    np.testing.assert_array_equal(keep.rollout["log_probs"], -20.0)


def test_relabelling_warns_when_the_policy_is_moved_far(make, every_third_tick):
    model = make_ppo(make("CartPole-v1", every_third_tick))
    with pytest.warns(RuntimeWarning, match="approx_kl"):
        model.learn(64, callback=TrialCallback(on_policy="relabel", kl_warning=-1.0))


def test_mask_needs_its_buffer(make, bits, always_zero):
    with pytest.raises(WrongBufferError, match="rollout_buffer_class=MaskedRolloutBuffer"):
        make_ppo(make("CartPole-v1", always_zero)).learn(32, callback=TrialCallback(on_policy="mask"))
    with pytest.raises(WrongBufferError, match="rollout_buffer_class=MaskedDictRolloutBuffer"):
        make_ppo(make(bits, always_zero)).learn(32, callback=TrialCallback(on_policy="mask"))
    with pytest.raises(WrongBufferError, match="rollout_buffer_class=MaskedDictRolloutBuffer"):
        make_ppo(make(bits, always_zero), rollout_buffer_class=MaskedRolloutBuffer)
    with pytest.raises(WrongBufferError, match="rollout_buffer_class=MaskedRolloutBuffer"):
        make_ppo(make("CartPole-v1", always_zero), rollout_buffer_class=MaskedDictRolloutBuffer)


def collect_masked(env, algorithm=PPO, steps=32, **kwargs):
    """Return a model whose buffer holds one masked rollout, before any update."""

    class Stop(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_end(self):
            self.model.train = lambda: None  # this rollout is looked at, not learned from

    model = make_ppo(env, algorithm, n_steps=steps, rollout_buffer_class=MaskedRolloutBuffer, **kwargs)
    model.learn(steps, callback=[TrialCallback(on_policy="mask"), Stop()])
    del model.train
    return model


def policy_gradient(model, batch, rows, normalise=True):
    """Return PPO's policy gradient on the rows of a batch, before the first update (ratio 1)."""
    advantages = batch.advantages[rows]
    if normalise:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    _, log_prob, _ = model.policy.evaluate_actions(
        batch.observations[rows], batch.actions[rows].long().flatten()
    )
    loss = -(advantages * torch.exp(log_prob - batch.old_log_prob[rows])).sum()
    gradients = torch.autograd.grad(loss, list(model.policy.parameters()), allow_unused=True)
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


def test_masked_rows_have_no_say_in_the_policy_gradient(make, every_third_tick):
    model = collect_masked(make("CartPole-v1", every_third_tick))
    batch = next(model.rollout_buffer.get(None))
    advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
    masked = advantages.abs() < 1e-6
    assert masked.sum() == 10  # ticks 2, 5, ... 29
    whole = policy_gradient(model, batch, slice(None))
    kept = policy_gradient(model, batch, ~masked)
    n_all, n_kept = len(masked), int((~masked).sum())
    # The same direction; normalisation over more rows scales it by a known factor.
    torch.testing.assert_close(whole, kept * ((n_all - 1) / (n_kept - 1)) ** 0.5, rtol=1e-4, atol=1e-5)


def test_masked_rows_have_no_say_where_advantages_are_not_normalised(make, every_third_tick):
    model = collect_masked(make("CartPole-v1", every_third_tick), A2C)
    batch = next(model.rollout_buffer.get(None))
    assert (batch.advantages == 0.0).sum() == 10


def test_masked_rows_keep_value_target_proposed_action_and_log_probability(make):
    human = SimulatedHuman(lambda observation: 0)
    keep = KeepRollout()
    model = make_ppo(make("CartPole-v1", human), rollout_buffer_class=MaskedRolloutBuffer)
    model.learn(32, callback=[TrialCallback(on_policy="mask"), keep])
    assert keep.rollout["actions"].any()
    np.testing.assert_allclose(keep.rollout["log_probs"][:, 0], keep.log_prob, atol=1e-5)
    np.testing.assert_allclose(
        keep.rollout["returns"], keep.rollout["advantages"] + keep.rollout["values"], rtol=1e-6
    )


@pytest.mark.parametrize("algorithm", [PPO, A2C, TRPO])
def test_a_rollout_that_is_all_overridden_stays_finite(algorithm, make, always_zero):
    model = make_ppo(make("CartPole-v1", always_zero), algorithm, rollout_buffer_class=MaskedRolloutBuffer)
    model.learn(64, callback=TrialCallback(on_policy="mask"))
    assert all(torch.isfinite(parameter).all() for parameter in model.policy.parameters())


def test_mask_with_dict_observations(make, bits, every_third_tick):
    model = make_ppo(make(bits, every_third_tick), rollout_buffer_class=MaskedDictRolloutBuffer)
    model.learn(32, callback=TrialCallback(on_policy="mask"))
    assert model.rollout_buffer.is_intervention.sum() == 10


def gae_buffer(buffer_class=MaskedRolloutBuffer, **kwargs):
    """Return a buffer of four steps of one episode; the third is overridden."""
    space = gym.spaces.Box(-1, 1, (1,))
    buffer = buffer_class(4, space, gym.spaces.Discrete(2), gae_lambda=0.9, gamma=0.8, **kwargs)
    for step in range(4):
        if step == 2 and buffer_class is MaskedRolloutBuffer:
            buffer.mark_intervention(0)
        buffer.add(
            np.zeros((1, 1), np.float32),
            np.zeros((1, 1)),
            np.array([1.0 + step]),
            np.array([step == 0]),
            torch.tensor([[0.5 * step]]),
            torch.zeros(1),
        )
    buffer.compute_returns_and_advantage(torch.tensor([[2.0]]), np.array([False]))
    return buffer


def test_boundary_through_is_ordinary_gae():
    ordinary = gae_buffer(RolloutBuffer)
    np.testing.assert_array_equal(gae_buffer().advantages, ordinary.advantages)


def test_boundary_cut_bootstraps_at_the_first_overridden_step():
    buffer, ordinary = gae_buffer(boundary="cut"), gae_buffer(RolloutBuffer)
    deltas = [1 + 0.8 * 0.5 - 0.0, 2 + 0.8 * 1.0 - 0.5]
    np.testing.assert_allclose(buffer.advantages[1, 0], deltas[1], rtol=1e-6)
    np.testing.assert_allclose(buffer.advantages[0, 0], deltas[0] + 0.72 * deltas[1], rtol=1e-6)
    np.testing.assert_allclose(buffer.advantages[2:], ordinary.advantages[2:], rtol=1e-6)
    np.testing.assert_allclose(buffer.returns, buffer.advantages + buffer.values)


def test_boundary_penalty_charges_the_step_before():
    buffer = gae_buffer(boundary="penalty", switch_penalty=3.0)
    np.testing.assert_array_equal(buffer.rewards[:, 0], [1, 2 - 3, 3, 4])


@pytest.mark.parametrize("buffer_class", [None, MaskedRolloutBuffer])
def test_cloning_moves_the_policy_towards_the_teacher(buffer_class, make, always_zero):
    model = make_ppo(make("CartPole-v1", always_zero), rollout_buffer_class=buffer_class, learning_rate=1e-9)
    callback = TrialCallback(on_policy="bc", bc_steps=50, bc_learning_rate=0.01)
    model.learn(96, callback=callback)
    observations = torch.as_tensor(np.zeros((1, 4), np.float32))
    probability = model.policy.get_distribution(observations).distribution.probs[0, 0].item()
    assert probability > 0.9


def test_what_was_executed_for_want_of_a_teachers_action_is_not_cloned(make):
    idle = SimulatedHuman(lambda observation: None)  # in control, with the hands off
    model = make_ppo(make("CartPole-v1", idle), learning_rate=0.0)
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(96, callback=TrialCallback(on_policy="bc", bc_steps=5, bc_learning_rate=0.01))
    assert all(torch.equal(*pair) for pair in zip(before, model.policy.parameters(), strict=True))


def test_cloning_keeps_dict_observations(make, bits, every_third_tick):
    model = make_ppo(make(bits, every_third_tick))
    model.learn(64, callback=TrialCallback(on_policy="bc", bc_steps=2))
