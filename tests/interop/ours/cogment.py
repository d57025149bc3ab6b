"""``import cogment`` gives our SDK where this folder is on the path, to run scripts of the official one."""

import sys

import cogment_lab.wire

sys.modules["cogment"] = cogment_lab.wire
