"""Where a checkpoint lies: a local path, or the copy in ``models/`` of a remote one."""

from __future__ import annotations

import logging
from pathlib import Path

from util.checkpoint.download import download
from util.checkpoint.known import CheckpointError, known_file
from util.checkpoint.origin import read_origin
from util.checkpoint.remote import file_name, is_remote, public_url

log = logging.getLogger("ddfm")


def locate(model_path: str, root: Path) -> Path:
    """The local file of a ``model_path``, which need not exist.

    Local paths are relative to the working directory or, failing that, to the project's folder ``root``;
    remote ones (``https://``, ``http://``, ``az://``, ``gs://``) belong into ``root/models`` under the name at
    their end. Raises DownloadError for an address that cannot be one.
    """
    if is_remote(model_path):
        return root / "models" / file_name(model_path)
    return Path(model_path) if Path(model_path).exists() else root / model_path


def obtain(model_path: str, root: Path) -> Path:
    """:func:`locate`, after fetching a remote file that is not there yet. Raises DownloadError, CheckpointError."""
    target = locate(model_path, root)
    if is_remote(model_path):
        fetch(model_path, target)
    return target


def fetch(url: str, target: Path) -> bool:
    """Download ``url`` to ``target`` unless it is there; returns whether it had to.

    Files whose name is known are checked by size and hash. Raises DownloadError, and CheckpointError when
    ``target`` was fetched from another address.
    """
    if target.exists():
        origin = read_origin(target)
        if origin is not None and origin.url != public_url(url):
            raise CheckpointError(
                f"{target} came from {origin.url}, not from {public_url(url)}: rename or delete it"
            )
        return False
    progress = log.isEnabledFor(logging.INFO)
    known = known_file(target.name)
    if known is None:
        download(url, target, progress=progress)
    else:
        download(url, target, size=known.size, sha256=known.sha256, progress=progress)
    return True
