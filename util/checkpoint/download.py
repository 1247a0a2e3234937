"""Fetching a remote file once: resumed where it stopped, checked, and under its name only when it is whole."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from typing import Any

from tqdm import tqdm

from util.checkpoint.origin import Origin, origin_path, part_path, read_origin
from util.checkpoint.remote import (
    ConnectionLost,
    DownloadError,
    Reply,
    ServerUnreachable,
    open_remote,
    public_url,
)
from util.checkpoint.unfinished import fcntl, kept, open_part
from util.files import file_sha256, write_atomically
from util.logger import shown

WAITS = (1, 2, 4, 8)  # seconds before each new attempt; bytes that came let the count begin anew
PROGRESS = 1 << 16  # fewer bytes of a connection than this are no progress
PATIENCE, SLOWEST = 30.0, 1000  # seconds, and bytes a second that must come in them
MOST_BYTES = 1 << 36  # of a file whose size is not known
_PIECE = 1 << 18

log = logging.getLogger("ddfm")


def download(
    url: str, target: Path, *, size: int | None = None, sha256: str = "", progress: bool = True
) -> None:
    """Fetch ``url`` into the file ``target``, which appears whole or not at all; one that exists is left alone.

    The bytes gather in ``NAME.part``; after a lost connection, an interruption or kill -9 the next attempt goes
    on from there, unless the server cannot, or the file there has changed: then it starts over. ``size`` and
    ``sha256`` are those of a known file. Raises :class:`~util.checkpoint.remote.DownloadError`.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_part(target) as stream:
            if target.exists():  # another process has just finished it
                part_path(target).unlink()
                return
            _fill(stream, url, target, size, progress)
            os.fsync(stream.fileno())
            _verify(target, size, sha256)
            if fcntl is None:
                stream.close()  # Windows renames no open files
            part_path(target).replace(target)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"{target} cannot be written: {error.strerror or error}") from error


def _fill(stream: FileIO, url: str, target: Path, size: int | None, progress: bool) -> None:
    """Append to the unfinished file until it is whole, over as many connections as it takes."""
    have = os.fstat(stream.fileno()).st_size
    origin = read_origin(target)
    if origin is None or origin.url != public_url(url):
        have, origin = 0, Origin(public_url(url), None, "")
    if origin.size is not None and have == origin.size and have > 0:
        return
    best, failures, reached = have, 0, False
    with tqdm(
        desc=shown(target.name)[:40],
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        leave=False,
        disable=None if progress else True,
    ) as bar:
        while True:
            try:
                with open_remote(url, have, origin.version) as reply:
                    reached = True
                    _check_same(stream, target, reply, origin)
                    origin = _start(stream, target, reply, origin, size)
                    _show(bar, reply)
                    _copy(stream, reply, target, bar, MOST_BYTES if size is None else size)
                    return
            except ConnectionLost as error:
                have = os.fstat(stream.fileno()).st_size
                failures = 1 if have - best >= PROGRESS else failures + 1
                best = max(best, have)
                if failures > len(WAITS) or (isinstance(error, ServerUnreachable) and not reached):
                    raise DownloadError(f"{error}{kept(have, target)}") from error
                log.warning(f"{error}: going on in {WAITS[failures - 1]} s")
                time.sleep(WAITS[failures - 1])


def _check_same(stream: FileIO, target: Path, reply: Reply, origin: Origin) -> None:
    """Where the server names no version, the size is all that can tell that the file there is another now."""
    if reply.offset and None not in (reply.size, origin.size) and reply.size != origin.size:
        stream.truncate(0)
        raise ConnectionLost(
            f"{target.name}: the file has {reply.size:,} bytes now, no longer {origin.size:,}"
        )


def _start(stream: FileIO, target: Path, reply: Reply, origin: Origin, size: int | None) -> Origin:
    """Make the unfinished file end where the reply begins, if the reply is the file that is wanted."""
    where = origin.url
    if size is not None and reply.size is not None and reply.size != size:
        raise DownloadError(
            f"{where}: the file there has {reply.size:,} bytes, but {target.name} has {size:,}: another file"
        )
    if not reply.marked and size is None:
        raise DownloadError(
            f"{where}: the server says neither how long the file is nor where it ends, so that a part could be taken "
            "for the whole; fetch it by hand and give the local path"
        )
    have = os.fstat(stream.fileno()).st_size
    total = reply.size if reply.size is not None else size
    if have > reply.offset:
        log.info(f"{where}: starting over, for what is here ({have:,} bytes) cannot be continued")
        stream.truncate(reply.offset)
    elif have:
        log.info(f"{where}: going on after {have:,} of {'?' if total is None else f'{total:,}'} bytes")
    else:
        amount = "" if total is None else f", {total:,} bytes,"
        log.info(f"downloading {where}{amount} to {target}")
    free = shutil.disk_usage(target.parent).free
    if total is not None and total - reply.offset > free:
        raise DownloadError(
            f"{target}: {total - reply.offset:,} more bytes are needed, but only {free:,} are free on that disk: "
            f"make room and start again{kept(reply.offset, target)}"
        )
    version = reply.version or (origin.version if reply.offset else "")
    origin = Origin(where, total, version)
    write_atomically(origin_path(target), (json.dumps(asdict(origin), indent=2) + "\n").encode())
    return origin


def _show(bar: Any, reply: Reply) -> None:
    bar.total = reply.size
    bar.initial = bar.n = reply.offset
    bar.refresh()


def _copy(stream: FileIO, reply: Reply, target: Path, bar: Any, most: int) -> None:
    have, pace = reply.offset, _Pace()
    while piece := _read(reply.stream):
        if have + len(piece) > most:
            stream.truncate(0)
            raise DownloadError(f"{target.name}: more than {most:,} bytes come, another file than is wanted")
        try:
            view = memoryview(piece)
            while view:
                view = view[stream.write(view) :]
        except OSError as error:
            left = kept(os.fstat(stream.fileno()).st_size, target)
            raise DownloadError(
                f"{target} cannot be written after {have:,} bytes ({error.strerror}): make room and start again{left}"
            ) from error
        have += len(piece)
        bar.update(len(piece))
        if pace.too_slow(len(piece)):
            raise DownloadError(
                f"{target.name}: the server sends less than {SLOWEST:,} bytes a second; start again later or take "
                f"another source{kept(have, target)}"
            )
    if have == 0:
        raise DownloadError(f"{target.name}: the file there is empty; check the address")
    if reply.size is not None and have != reply.size:
        raise ConnectionLost(f"{target.name}: the connection ended after {have:,} of {reply.size:,} bytes")


class _Pace:
    """Tells a server that keeps a connection open, but does not send to speak of."""

    def __init__(self) -> None:
        self._since, self._bytes = time.monotonic(), 0

    def too_slow(self, count: int) -> bool:
        """Whether, now that so many bytes have come, too few came in the last :data:`PATIENCE` seconds."""
        self._bytes += count
        seconds = time.monotonic() - self._since
        if seconds < PATIENCE:
            return False
        slow = self._bytes < SLOWEST * seconds
        self._since, self._bytes = time.monotonic(), 0
        return slow


def _read(stream: Any) -> bytes:
    try:
        return stream.read1(_PIECE)  # what has come so far: then little is lost with the connection
    except DownloadError:
        raise
    except OSError as error:
        raise ConnectionLost(f"the connection broke ({error.strerror or error})") from error


def _verify(target: Path, size: int | None, sha256: str) -> None:
    """Throw the finished bytes away if they are not those of the known file."""
    part = part_path(target)
    have = part.stat().st_size
    if size is not None and have != size:
        problem = f"{have:,} bytes came, not {size:,}"
    elif sha256 and (found := file_sha256(part)) != sha256:
        problem = f"what came has the sha256 {found}, not {sha256}"
    else:
        return
    part.unlink()
    origin_path(target).unlink(missing_ok=True)
    raise DownloadError(
        f"{target.name}: {problem}. It was thrown away; start again, and if that is of no use take another source"
    )
