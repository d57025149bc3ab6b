"""The version of this package, and nothing else."""

__version__ = "0.2.0.dev0"
