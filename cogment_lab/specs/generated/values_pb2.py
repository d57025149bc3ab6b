# Made by scripts/generate_protos.py from cogment_lab/specs/protos. Do not edit.
from cogment_lab.specs.pool import message

SpaceValue = message("cogment_lab.spaces.SpaceValue")
