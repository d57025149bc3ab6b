"""Gymnasium environments whose episodes are trials."""
