# Made by scripts/generate_protos.py from cogment_lab/wire/protos. Do not edit.
from cogment_lab.wire.pool import message

PreTrialParams = message("cogmentAPI.PreTrialParams")
