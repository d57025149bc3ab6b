"""The versions of this package and of the protocol that it speaks, and nothing else."""

__version__ = "0.2.0.dev0"

PROTOCOL_VERSION = "2.22.0"
"""Release of Cogment whose API this is."""
