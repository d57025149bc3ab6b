"""Which packages are installed, and which extra each belongs to."""

from __future__ import annotations

import importlib.metadata

__all__ = ["CORE", "EXTRAS", "installed_version"]

CORE = (
    "numpy",
    "gymnasium",
    "pettingzoo",
    "grpcio",
    "protobuf",
    "fastapi",
    "uvicorn",
    "pillow",
    "typer",
    "rich",
)
"""What every installation has."""

EXTRAS = {
    "sb3": ("torch", "stable-baselines3", "sb3-contrib", "tensorboard"),
    "envs": ("pygame-ce", "box2d"),
    "minari": ("minari", "h5py", "pyarrow"),
    "report": ("matplotlib",),
    "video": ("imageio-ffmpeg",),
    "gradio": ("gradio",),
}
"""The packages that make an extra, by its name."""

_ALTERNATIVES = {"pygame-ce": "pygame", "box2d": "box2d-py"}


def installed_version(package: str) -> str | None:
    """Return the version of a package, or of what goes for it; ``None`` without either."""
    for name in (package, _ALTERNATIVES.get(package, package)):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
