# Made by scripts/generate_protos.py from cogment_lab/wire/protos. Do not edit.
from cogment_lab.wire.pool import message

ModelInfo = message("cogmentAPI.ModelInfo")
ModelVersionInfo = message("cogmentAPI.ModelVersionInfo")
CreateOrUpdateModelRequest = message("cogmentAPI.CreateOrUpdateModelRequest")
CreateOrUpdateModelReply = message("cogmentAPI.CreateOrUpdateModelReply")
RetrieveModelsRequest = message("cogmentAPI.RetrieveModelsRequest")
RetrieveModelsReply = message("cogmentAPI.RetrieveModelsReply")
DeleteModelRequest = message("cogmentAPI.DeleteModelRequest")
DeleteModelReply = message("cogmentAPI.DeleteModelReply")
CreateVersionRequestChunk = message("cogmentAPI.CreateVersionRequestChunk")
CreateVersionReply = message("cogmentAPI.CreateVersionReply")
RetrieveVersionInfosRequest = message("cogmentAPI.RetrieveVersionInfosRequest")
RetrieveVersionInfosReply = message("cogmentAPI.RetrieveVersionInfosReply")
RetrieveVersionDataRequest = message("cogmentAPI.RetrieveVersionDataRequest")
RetrieveVersionDataReplyChunk = message("cogmentAPI.RetrieveVersionDataReplyChunk")
VersionUpdateRequest = message("cogmentAPI.VersionUpdateRequest")
VersionUpdateReply = message("cogmentAPI.VersionUpdateReply")
