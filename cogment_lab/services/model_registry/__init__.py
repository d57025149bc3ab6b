"""The model registry: versions of models, kept and handed out."""
