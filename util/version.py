"""The version of this project, and of what computes its images."""

from __future__ import annotations

import platform
from importlib import metadata

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Versions that can change an image: this project, Python, torch (with its build), numpy, pillow."""
    import torch  # here, for it takes a second to import, and a version is asked for without it

    packages = {name: metadata.version(name) for name in ("numpy", "pillow")}
    python = platform.python_version()
    # torch says itself whether it was built for CUDA, and for which; the package's metadata may not
    return {"ddfm": __version__, "python": python, "torch": str(torch.__version__), **packages}
