"""The model registry: versions of models, kept and handed out."""

from cogment_lab.services.model_registry.registry import ModelRegistry
from cogment_lab.services.model_registry.settings import ModelRegistrySettings

__all__ = ["ModelRegistry", "ModelRegistrySettings"]
