"""The version of this project, and of what computes its images."""

from __future__ import annotations

import platform
from importlib import metadata

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Versions that can change an image: this project, Python, torch, numpy, pillow."""
    packages = {name: metadata.version(name) for name in ("torch", "numpy", "pillow")}
    return {"ddfm": __version__, "python": platform.python_version(), **packages}
