"""Actors that can be served: constant, random, torch networks, SB3 models."""

from cogment_lab.actors.simple import ConstantActor, RandomActor

__all__ = ["ConstantActor", "RandomActor"]
