"""Environments that can be served: Gymnasium, PettingZoo AEC and Parallel."""
