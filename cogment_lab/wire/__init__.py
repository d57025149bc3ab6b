"""Cogment's gRPC API: messages, client side, sessions."""
