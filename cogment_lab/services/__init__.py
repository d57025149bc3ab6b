"""Cogment's services: orchestrator, trial datastore, model registry, directory, web proxy."""
