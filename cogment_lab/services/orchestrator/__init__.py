"""The orchestrator: runs trials whose components are other processes."""
