# Made by scripts/generate_protos.py from cogment_lab/specs/protos. Do not edit.
from cogment_lab.specs.pool import message

EnvironmentSpecs = message("cogment_lab.EnvironmentSpecs")
AgentSpecs = message("cogment_lab.AgentSpecs")
Value = message("cogment_lab.Value")
EnvironmentConfig = message("cogment_lab.EnvironmentConfig")
HFHubModel = message("cogment_lab.HFHubModel")
AgentConfig = message("cogment_lab.AgentConfig")
TrialConfig = message("cogment_lab.TrialConfig")
Observation = message("cogment_lab.Observation")
PlayerAction = message("cogment_lab.PlayerAction")
