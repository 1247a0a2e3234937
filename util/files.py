"""Files: written so that each is there whole or not at all, their hashes, and where the project's own lie."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

PART_PREFIX = ".part-"
_ABANDONED_SECONDS = 600.0  # no write takes that long


def project_root() -> Path:
    """Where ``configs/`` and ``models/`` lie: the clone or, once installed, the package ``ddfm``."""
    clone = Path(__file__).resolve().parents[1]
    return clone if (clone / "configs").is_dir() else clone / "ddfm"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside its own, then rename it.

    Whatever happens, an older file of that name stays as it was until the new one is complete on the disk.
    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=PART_PREFIX, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())  # a full disk may show only here
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def file_sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return stream_sha256(stream)


def stream_sha256(stream: BinaryIO) -> str:
    """Hex digest of what is left of an open file, read in pieces."""
    digest = hashlib.sha256()
    while piece := stream.read(1 << 22):
        digest.update(piece)
    return digest.hexdigest()


def remove_abandoned(folder: Path) -> None:
    """Remove what a process that was killed while writing has left in a folder; keep what may be in the making."""
    for path in folder.glob(f"{PART_PREFIX}*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()
        except OSError:  # gone already, or not ours
            continue


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
