"""Two sequences to fused frames and a video: ``sample.py --sequence``, and ``ddfm.fuse_sequence``."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from guided_diffusion.prior import Prior
from util.allocator import keep_freed_memory
from util.images.image_io import read_image
from util.images.png import png_header_text, write_png
from util.presets import Preset, preset
from util.run.record import fingerprint
from util.sequences.aligning import Alignment
from util.sequences.frames import Frame, SequenceError, check_videos, open_frames
from util.sequences.fusing import FusedFrame, SequenceFuser
from util.sequences.pairing import paired
from util.sequences.steady import Steady
from util.sequences.video import VideoWriter
from util.version import versions

RATE = 25.0
"""Frames a second of a video whose sources do not say."""
Source = Path | str | Iterable[np.ndarray]

log = logging.getLogger("ddfm")


def fuse_sequence(
    ir: Source,
    vi: Source,
    settings: Preset | str = "local_fast",
    prior: Prior | None = None,
    workers: int | None = None,
) -> Iterator[FusedFrame]:
    """Fused frames, one after the other, as they are made.

    ``ir``, ``vi``: video files, folders of frames, or iterables of arrays (H, W) or (H, W, 3) uint8, which may be
    streams. ``settings``: a preset, or its name; ``prior``: where it asks one (None: it is opened). Raises
    SequenceError for what cannot be read or paired, also after frames that could.
    """
    chosen = preset(settings) if isinstance(settings, str) else settings
    align = Alignment(chosen.fusion.register)
    fuser = SequenceFuser(chosen, chosen.open_prior() if prior is None else prior, workers)
    pairs = paired(open_frames(ir, "infrared frames"), open_frames(vi, "visible frames"))
    return fuser.fuse(_numbered(align(pairs), fuser))


def _numbered(
    pairs: Iterator[tuple[Frame, Frame]], fuser: SequenceFuser
) -> Iterator[tuple[int, Frame, Frame]]:
    number = -1
    for number, (ir, vi) in enumerate(pairs):
        if number == 0:
            fuser.start(ir, vi)
        yield number, ir, vi
    if number < 0:
        raise SequenceError("there is no frame to fuse")


@dataclass(frozen=True)
class SequenceRun:
    """What became of a run: frames made, frames that were there, seconds, and the video (None: there is no PyAV).

    ``stopped``: why it ended before its last frame, if it did.
    """

    folder: Path
    made: int
    skipped: int
    seconds: float
    video: Path | None
    stopped: str = ""

    def summary(self) -> str:
        """The closing words."""
        speed = f" ({self.made / self.seconds:.1f} a second)" if self.made else ""
        return f"{self.made} frames fused, {self.skipped} skipped in {self.seconds:.1f} s{speed}"


def write_sequence(
    ir: Path,
    vi: Path,
    save_dir: Path,
    settings: Preset,
    *,
    video: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
    limit: int | None = None,
    max_pixels: int | None = None,
) -> SequenceRun:
    """Fuse two videos or folders of frames into ``save_dir/frames/000000.png`` ... and ``video``.

    Frames that are there, made of the same frames by the same settings, are not made again. ``video`` None:
    ``save_dir/video.mp4``, unless there is no PyAV, which is said. What cannot be read after the first frame ends the
    sequence there. Raises SequenceError, OSError before the first.
    """
    keep_freed_memory()
    started, folder = time.monotonic(), save_dir / "frames"
    target = video or save_dir / "video.mp4"
    try:
        check_videos()
    except SequenceError as error:
        if video is not None:
            raise
        log.warning(f"frames alone, no MP4: {error}")
        target = None
    sides = open_frames(ir, "ir", max_pixels), open_frames(vi, "vi", max_pixels)
    align, prior = Alignment(settings.fusion.register), settings.open_prior(device)
    fuser = SequenceFuser(settings, prior)
    description = {
        **(prior.describe() if prior is not None else {"prior": None}),
        "fusion_config": settings.fusion.describe(),
        "steps": settings.diffusion.timestep_respacing,
        "ir": Path(ir).name,
        "vi": Path(vi).name,
        "versions": versions(),
    }
    marks: dict[int, str] = {}
    pairs = itertools.islice(_numbered(align(paired(*sides)), fuser), limit)
    kept: list[Path] = []
    rest = _after_those_done(pairs, fuser, folder, description, marks, kept, overwrite)

    def jobs(writer: VideoWriter | None) -> Iterator[Callable[[], None]]:
        for count, frame in enumerate(fuser.fuse(rest)):
            if writer is not None and count == 0:
                _replay(writer, kept)
            found = {} if align.outcome is None else {"registration": align.outcome}
            yield partial(_write, folder, frame, marks.pop(frame.number), {**description, **found}, writer)

    made = 0
    rate = sides[1].rate or sides[0].rate or RATE
    failed = ""
    with contextlib.nullcontext() if target is None else VideoWriter(target, rate) as writer:
        try:
            with contextlib.closing(_done_behind(jobs(writer))) as done:
                for _ in done:
                    made += 1
        except (ValueError, OSError) as error:
            if not made and not kept:
                raise
            failed = str(error)
        if writer is not None and made == 0:
            _replay(writer, kept)
    return SequenceRun(folder, made, len(kept), time.monotonic() - started, target, failed)


def _replay(writer: VideoWriter, files: list[Path]) -> None:
    for path in files:
        image = read_image(path)
        writer.add(image.luma if image.rgb is None else image.rgb)


def _after_those_done(
    pairs: Iterable[tuple[int, Frame, Frame]],
    fuser: SequenceFuser,
    folder: Path,
    description: dict[str, Any],
    marks: dict[int, str],
    kept: list[Path],
    overwrite: bool,
) -> Iterator[tuple[int, Frame, Frame]]:
    """The pairs from the first on whose frame is not there; what is kept from those before goes to the fuser."""
    own = fingerprint({key: value for key, value in description.items() if key != "versions"})
    done, state, last = not overwrite, None, None
    for number, ir, vi in pairs:
        mark = hashlib.sha256(own.encode() + ir.rgb.tobytes() + vi.rgb.tobytes()).hexdigest()
        path = folder / f"{number:06d}.png"
        text = png_header_text(path) if done else {}
        if done and text.get("fingerprint") == mark and "state" in text:
            kept.append(path)
            state, last = text["state"], (ir, vi)
            continue
        if done and state is not None and last is not None:
            fuser.go_on(Steady.of_json(json.loads(state)), *last, read_image(kept[-1]).luma)
        done = False
        marks[number] = mark
        yield number, ir, vi


def _done_behind(jobs: Iterator[Callable[[], None]]) -> Generator[None, None, None]:
    """Each job once it is done, in order, by a thread that does one while the next comes.

    Raises what comes of getting jobs and of doing them, after those before.
    """
    last: Future[None] | None = None
    failed: Exception | None = None
    with ThreadPoolExecutor(1) as pool:
        try:
            for job in jobs:
                before, last = last, None
                if before is not None:
                    before.result()
                    yield
                last = pool.submit(job)
        except (ValueError, OSError) as error:
            failed = error
        if last is not None:
            last.result()
            yield
    if failed is not None:
        raise failed


def _write(
    folder: Path, frame: FusedFrame, mark: str, description: dict[str, Any], writer: VideoWriter | None
) -> None:
    """The frame as a file, and in the video. Raises OSError that names what cannot be written."""
    text = {
        "Software": f"DDFM {description['versions']['ddfm']}",
        "fingerprint": mark,
        "state": json.dumps(frame.state),
        "ddfm": json.dumps({**description, "frame": frame.number, "time": frame.time}),
    }
    path = folder / f"{frame.number:06d}.png"
    try:
        write_png(path, frame.image, text, effort=1)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error})") from error
    if writer is not None:
        writer.add(frame.image)
