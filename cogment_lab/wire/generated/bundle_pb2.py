# Made by scripts/generate_protos.py from cogment_lab/wire/protos. Do not edit.
from cogment_lab.wire.pool import message

ActorInputs = message("cogment_lab.wire.ActorInputs")
ActorOutputs = message("cogment_lab.wire.ActorOutputs")
EnvInputs = message("cogment_lab.wire.EnvInputs")
EnvOutputs = message("cogment_lab.wire.EnvOutputs")
DatalogInputs = message("cogment_lab.wire.DatalogInputs")
SampleReplies = message("cogment_lab.wire.SampleReplies")
