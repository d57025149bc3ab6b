"""What Cogment Lab 0.1.5 kept under this name."""

from cogment_lab.utils.import_class import import_object

__all__ = ["import_object"]
