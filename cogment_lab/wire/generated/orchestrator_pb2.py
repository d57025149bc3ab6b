# Made by scripts/generate_protos.py from cogment_lab/wire/protos. Do not edit.
from cogment_lab.wire.pool import message

TrialStartRequest = message("cogmentAPI.TrialStartRequest")
TrialStartReply = message("cogmentAPI.TrialStartReply")
TerminateTrialRequest = message("cogmentAPI.TerminateTrialRequest")
TerminateTrialReply = message("cogmentAPI.TerminateTrialReply")
TrialInfoRequest = message("cogmentAPI.TrialInfoRequest")
TrialInfo = message("cogmentAPI.TrialInfo")
TrialInfoReply = message("cogmentAPI.TrialInfoReply")
TrialListRequest = message("cogmentAPI.TrialListRequest")
TrialListEntry = message("cogmentAPI.TrialListEntry")
