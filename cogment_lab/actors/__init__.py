"""Actors that can be served: constant, random, torch networks, SB3 models."""
