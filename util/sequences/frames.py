"""Frames of a video file, a folder of images, or arrays as they come."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from util.images.image_io import SUFFIXES, read_image
from util.images.pairs import images_by_stem
from util.images.ranges import sequence_range

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".avi", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".ts", ".wmv"})


class SequenceError(ValueError):
    """A sequence that cannot be fused, or not further; the message names file and frame and says what to do."""


@dataclass(frozen=True, eq=False)
class Frame:
    """``rgb``: (H, W, 3) uint8, grey in three equal channels; ``time``: in seconds, None: not known."""

    rgb: np.ndarray
    time: float | None = None


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of one side. ``count``, ``rate``: how many, and how many a second, where that is known."""

    name: str
    frames: Iterable[Frame]
    count: int | None = None
    rate: float | None = None

    def __iter__(self) -> Iterator[Frame]:
        """All frames, of one size. Raises SequenceError where the size changes."""
        size: tuple[int, ...] | None = None
        for number, frame in enumerate(self.frames):
            size = size or frame.rgb.shape
            if frame.rgb.shape != size:
                (h, w), (was_h, was_w) = frame.rgb.shape[:2], size[:2]
                raise SequenceError(
                    f"{self.name}: frame {number} is {w}x{h}, but those before are {was_w}x{was_h}; "
                    "cut the sequence there"
                )
            yield frame


def is_video(path: Path) -> bool:
    """Whether a path is named as a video file is."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def can_read_videos() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def check_videos() -> None:
    """Raise SequenceError unless PyAV is installed."""
    if not can_read_videos():
        raise SequenceError("videos need PyAV, which is not installed: pip install -r requirements-video.txt")


def open_frames(
    source: Path | str | Iterable[np.ndarray], name: str, max_pixels: int | None = None
) -> Frames:
    """The frames of ``source``: a video file, a folder of images in order of name, or arrays, read as they are taken.

    Arrays are (H, W) or (H, W, 3) uint8. Images of more than 8 bits share one range. ``name``: for arrays, in errors.
    Raises SequenceError for a file that is no video and a folder without images, and for videos without PyAV.
    """
    if not isinstance(source, str | Path):
        return Frames(name, (Frame(_as_rgb(array, name)) for array in source))
    path = Path(source)
    if path.is_dir():
        files = [found for each in images_by_stem(path).values() for found in each]
        shared = sequence_range(files, max_pixels)
        frames = (Frame(_of_file(file, shared, max_pixels)) for file in files)
        return Frames(str(path), frames, len(files))
    if not path.is_file():
        raise SequenceError(f"{path}: there is no such video or folder of frames")
    if path.suffix.lower() in SUFFIXES:
        raise SequenceError(f"{path}: an image, not a video; give the folder of the frames")
    check_videos()
    return _open_video(path)


def _of_file(path: Path, shared: tuple[float, float] | None, max_pixels: int | None) -> np.ndarray:
    image = read_image(path, shared, max_pixels)
    return np.repeat(image.luma[..., None], 3, axis=2) if image.rgb is None else image.rgb


def _as_rgb(array: np.ndarray, name: str) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise SequenceError(f"{name}: a frame must be an array (H, W) or (H, W, 3) of uint8")
    if array.ndim == 3 and array.shape[2] != 3:
        raise SequenceError(f"{name}: a frame has {array.shape[2]} channels, but must have 3, or be (H, W)")
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array


def _open_video(path: Path) -> Frames:
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise SequenceError(f"{path}: holds no video stream; give another file")
            stream = container.streams.video[0]
            rate = float(stream.average_rate) if stream.average_rate else None
    except (FFmpegError, OSError) as error:
        raise SequenceError(
            f"{path}: not a readable video ({error}); replace it with a whole copy"
        ) from error
    return Frames(str(path), _decoded(path), stream.frames or None, rate)


def _decoded(path: Path) -> Iterator[Frame]:
    import av
    from av.error import FFmpegError

    number = 0
    try:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                yield Frame(frame.to_ndarray(format="rgb24"), frame.time)
                number += 1
    except (FFmpegError, OSError) as error:
        raise SequenceError(
            f"{path}: cannot be read after {number} frames ({error}); what is before it is fused"
        ) from error
    if not number:
        raise SequenceError(f"{path}: holds no frame; give another file")
