"""``cogmentlab version``: what runs here, and which protocol it speaks."""

from __future__ import annotations

import json
import platform

from cogment_lab._version import PROTOCOL_VERSION, __version__
from cogment_lab.cli.packages import EXTRAS, installed_version

__all__ = ["show_version"]


def show_version(*, as_json: bool = False) -> None:
    """Print the versions of this package, of Python, of Cogment's protocol, and of the extras' packages."""
    extras = {
        extra: {package: installed_version(package) for package in packages}
        for extra, packages in EXTRAS.items()
    }
    if as_json:
        known = {"cogment_lab": __version__, "python": platform.python_version(), "cogment": PROTOCOL_VERSION}
        print(json.dumps({**known, "extras": extras}))
        return
    print(f"cogment_lab {__version__}")
    print(f"python      {platform.python_version()}")
    print(f"cogment     {PROTOCOL_VERSION} (the protocol's version)")
    for extra, packages in extras.items():
        found = ", ".join(f"{name} {version or 'missing'}" for name, version in packages.items())
        print(f"{extra:11} {found}")
