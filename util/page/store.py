"""Where uploads and results lie while they are needed, below one folder that goes with the page."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path


class Store:
    """A folder of this user alone, whose files are removed ``minutes`` after they were written.

    ``uploads``: what visitors bring. Every result gets a folder with a name that cannot be guessed.
    """

    def __init__(self, minutes: float) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ddfm-page-"))
        self.uploads, self._results = self.root / "uploads", self.root / "results"
        for folder in (self.uploads, self._results):
            folder.mkdir()
        self._seconds, self._closed = 60.0 * minutes, threading.Event()
        self._thread = threading.Thread(target=self._keep_tidy, daemon=True)
        self._thread.start()

    def new_folder(self) -> Path:
        """For the files of one result."""
        return Path(tempfile.mkdtemp(dir=self._results))

    def owns(self, path: Path) -> bool:
        """Whether a file is an upload, and no other file of this machine."""
        return path.resolve().is_relative_to(self.uploads.resolve())

    def sweep(self) -> None:
        """Remove what is too old."""
        oldest = time.time() - self._seconds
        aged = []
        for path in sorted(self.root.rglob("*"), reverse=True):  # what is in a folder before the folder
            with suppress(OSError):  # gone already
                if path.parent != self.root and path.stat().st_mtime < oldest:
                    aged.append(path)
        for path in aged:
            with suppress(OSError):  # a folder into which something came
                path.rmdir() if path.is_dir() else path.unlink()

    def close(self) -> None:
        """Remove everything."""
        self._closed.set()
        shutil.rmtree(self.root, ignore_errors=True)

    def _keep_tidy(self) -> None:
        while not self._closed.wait(min(60.0, self._seconds / 2)):
            self.sweep()
