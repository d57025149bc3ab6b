"""Actors that can be served: constant, random, torch networks, SB3 models."""

from cogment_lab.actors.sb3 import SB3Actor
from cogment_lab.actors.simple import ConstantActor, RandomActor

__all__ = ["ConstantActor", "RandomActor", "SB3Actor"]
