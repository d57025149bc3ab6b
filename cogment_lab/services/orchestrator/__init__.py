"""The orchestrator: runs trials whose components are other processes."""

from cogment_lab.services.orchestrator.orchestrator import Orchestrator
from cogment_lab.services.orchestrator.settings import Deadlines, OrchestratorSettings

__all__ = ["Deadlines", "Orchestrator", "OrchestratorSettings"]
