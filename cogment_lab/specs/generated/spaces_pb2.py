# Made by scripts/generate_protos.py from cogment_lab/specs/protos. Do not edit.
from cogment_lab.specs.pool import message

Discrete = message("cogment_lab.spaces.Discrete")
Box = message("cogment_lab.spaces.Box")
MultiBinary = message("cogment_lab.spaces.MultiBinary")
MultiDiscrete = message("cogment_lab.spaces.MultiDiscrete")
Dict = message("cogment_lab.spaces.Dict")
Text = message("cogment_lab.spaces.Text")
Tuple = message("cogment_lab.spaces.Tuple")
Sequence = message("cogment_lab.spaces.Sequence")
Graph = message("cogment_lab.spaces.Graph")
OneOf = message("cogment_lab.spaces.OneOf")
Space = message("cogment_lab.spaces.Space")
