"""The ``cogmentlab`` command."""
