"""Writing an MP4 file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from util.sequences.frames import check_videos


class VideoWriter:
    """Writes frames, (H, W) or (H, W, 3) uint8, as H.264 at ``rate`` frames a second; the file appears whole.

    Odd sides get their last row or column twice, for the format has even ones. Raises SequenceError without PyAV.
    """

    def __init__(self, path: Path, rate: float) -> None:
        check_videos()
        self.path, self.rate = path, Fraction(rate).limit_denominator(100_000)
        self.part = path.with_name(f".part-{path.name}")
        self._container: Any = None
        self._stream: Any = None

    def add(self, image: np.ndarray) -> None:
        """The next frame."""
        import av

        rgb = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
        rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self.part), "w", format="mp4", options={"movflags": "+faststart"})
            self._stream = self._container.add_stream(
                "libx264", rate=self.rate, options={"crf": "18", "preset": "veryfast"}
            )
            self._stream.height, self._stream.width, self._stream.pix_fmt = *rgb.shape[:2], "yuv420p"
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if kind is None:
            self.part.replace(self.path)
        else:
            self.part.unlink(missing_ok=True)
