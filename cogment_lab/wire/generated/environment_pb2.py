# Made by scripts/generate_protos.py from cogment_lab/wire/protos. Do not edit.
from cogment_lab.wire.pool import message

ObservationSet = message("cogmentAPI.ObservationSet")
ActionSet = message("cogmentAPI.ActionSet")
EnvRunTrialInput = message("cogmentAPI.EnvRunTrialInput")
EnvRunTrialOutput = message("cogmentAPI.EnvRunTrialOutput")
EnvInitialInput = message("cogmentAPI.EnvInitialInput")
EnvInitialOutput = message("cogmentAPI.EnvInitialOutput")
