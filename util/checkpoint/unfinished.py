"""The file in which a download gathers: one process at a time appends to it, and an empty one does not stay."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from util.checkpoint.origin import origin_path, part_path
from util.checkpoint.remote import DownloadError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger("ddfm")


@contextlib.contextmanager
def open_part(target: Path) -> Iterator[FileIO]:
    """The unfinished file, for appending and for this process alone; an empty one does not stay."""
    part = part_path(target)
    if part.exists() and not part.is_file():  # a pipe would block
        raise DownloadError(f"{part} is no file that can be continued: remove it")
    while True:
        stream = FileIO(part, "ab")
        with contextlib.suppress(FileNotFoundError):
            if _lock(stream, target) and os.path.samestat(os.fstat(stream.fileno()), part.stat()):
                break
        stream.close()  # finished and renamed between our opening and our locking
    try:
        yield stream
    finally:
        if not stream.closed and os.fstat(stream.fileno()).st_size == 0:
            part.unlink(missing_ok=True)
            if not target.exists():
                origin_path(target).unlink(missing_ok=True)
        stream.close()


def _lock(stream: FileIO, target: Path) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            raise DownloadError(
                f"{target} is being downloaded by another process: wait until it is done"
            ) from None
        except OSError as error:  # file systems without locks
            log.debug(f"{target}: no lock ({error})")
    return True


def kept(count: int, target: Path) -> str:
    """For errors: that what has come of a download is not lost; empty where nothing has."""
    return f" (the first {count:,} bytes are kept in {part_path(target)})" if count else ""
