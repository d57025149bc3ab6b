"""Environments that can be served: Gymnasium, PettingZoo AEC and Parallel."""

from cogment_lab.envs.gymnasium import GymEnvironment
from cogment_lab.envs.pettingzoo import AECEnvironment, ParallelEnvironment

__all__ = ["AECEnvironment", "GymEnvironment", "ParallelEnvironment"]
