"""Cal-QL: CQL whose values stay comparable with what is found later on line.

Source: Nakamoto et al., "Cal-QL: Calibrated Offline RL Pre-Training for Efficient Online Fine-Tuning",
NeurIPS 2023 (arXiv:2303.05479), Equation 5.1. CQL's values may be far too small; the first actions tried on
line then look better than all that was learned, and the policy runs after them. Here the values of the
policy's actions are not pushed below the return that the data show from the same state on. ``into`` keeps
this regulariser in the critic's loss on line, on states of the data, and lets it fade.
"""

from __future__ import annotations

from cogment_lab.algorithms.cql import CQL

__all__ = ["CalQL"]


class CalQL(CQL):
    """Cal-QL, for Box actions: learn offline, then ``into(SAC(...))`` with critics and temperature.

    Arguments are those of :class:`CQL`. Returns of trials that did not terminate are continued by their last
    rewards; see :meth:`OfflineData.returns_to_go`.

    Example:
        >>> import cogment_lab
        >>> from cogment_lab.algorithms import CalQL
        >>> from cogment_lab.humans.scripted import scripted_policy
        >>> from stable_baselines3 import SAC
        >>> store = cogment_lab.TrialStore(":memory:")
        >>> _ = cogment_lab.run("Pendulum-v1", scripted_policy("Pendulum-v1"), trials=1, seed=1, store=store)
        >>> layers = {"net_arch": [16]}
        >>> offline = CalQL("MlpPolicy", store, policy_kwargs=layers, seed=1).learn(10)
        >>> online = SAC("MlpPolicy", "Pendulum-v1", policy_kwargs=layers, buffer_size=1000)
        >>> offline.into(online)
        >>> online.replay_buffer.size()
        200
    """

    floor = True
    is_calibrated = True
