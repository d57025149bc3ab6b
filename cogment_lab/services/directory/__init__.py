"""The directory: where services register and are found."""

from cogment_lab.services.directory.directory import Directory, DirectoryServicer
from cogment_lab.services.directory.settings import DirectorySettings

__all__ = ["Directory", "DirectoryServicer", "DirectorySettings"]
