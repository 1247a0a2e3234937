"""Fusing the frames of a sequence, a few at a time, in order."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guided_diffusion import fusion
from guided_diffusion.denoising.sources import clean_sources, find_noise
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.local.em import LocalFast, LocalState
from guided_diffusion.local.weights import WEIGHINGS, detect_task
from guided_diffusion.prior import Prior
from guided_diffusion.rectification import is_stretched
from guided_diffusion.samplers import SAMPLERS, with_eta
from guided_diffusion.ycbcr import luma_tensor
from util.images.colour import colourise
from util.images.image_io import grey_from_rgb, is_coloured
from util.images.levels import levels_of
from util.images.pairs import MULTIPLE, fit, fitted_size
from util.presets import Preset
from util.sequences.frames import Frame, SequenceError
from util.sequences.steady import Steady, calm

log = logging.getLogger("ddfm")


@dataclass(frozen=True, eq=False)
class FusedFrame:
    """``image``: (H, W) or, where a source has colour, (H, W, 3) uint8. ``time``: of the visible frame, in seconds.

    ``state``: what the sequence keeps for the frames after it (:meth:`Steady.to_json`).
    """

    number: int
    time: float | None
    image: np.ndarray
    state: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Task:
    number: int
    frame: Frame
    sigmas: list[float]
    noise_state: dict[str, Any]
    fused: Future[tuple[Tensor, Tensor, np.ndarray | None]]


class _Watched:
    """A local rectification whose first state is kept: how lively its sources are is not computed twice."""

    def __init__(self, em: LocalFast) -> None:
        self.em, self.iterations = em, em.iterations
        self.first: LocalState | None = None

    def start(self, sources: Sequence[Tensor]) -> LocalState:
        self.first = self.em.start(sources)
        return self.first

    def step(self, state: LocalState, f: Tensor, alpha_bar: float | None = None) -> tuple[Tensor, LocalState]:
        return self.em.step(state, f, alpha_bar)


class SequenceFuser:
    """Fuses pairs of frames as ``preset`` says; what is estimated (noise, tone, range) runs on from frame to frame.

    The task of local fusion and the source of the colour are those of the first frame. The tone curve comes last.
    ``prior``: where the preset asks one. ``workers``: frames in the making at a time (None: as many as cores without
    a prior, else 1). Raises ValueError for settings that are for single images.
    """

    def __init__(self, preset: Preset, prior: Prior | None = None, workers: int | None = None) -> None:
        config = preset.fusion
        single = {"samples": 1, "ranges": None, "ir_range": None, "vi_range": None}
        for name, usual in single.items():
            if getattr(config, name) not in (usual, "sequence"):
                raise ValueError(
                    f"{name} is {getattr(config, name)!r}, but sequences have none: leave it {usual!r}"
                )
        if config.prior is not False and prior is None:
            raise ValueError("these settings ask a prior: give one, or choose local_fast")
        self.config, self.prior = config, prior
        self.sampler = with_eta(SAMPLERS[preset.diffusion.sampler], config.eta)
        self.diffusion = GaussianDiffusion.from_config(preset.diffusion)
        self.em: Any = config.em
        self.stretched = is_stretched(config.em)
        self.workers = workers or (1 if prior is not None else len(os.sched_getaffinity(0)))
        self.steady = Steady()
        self.tone_of_task = 0.0
        self.colour_of: int | None = None
        self._before: list[Tensor] | None = None

    def start(self, ir: Frame, vi: Frame) -> None:
        """Decide by a first pair what stays for the sequence. Raises SequenceError for a pair that does not fit."""
        if ir.rgb.shape != vi.rgb.shape:
            (h1, w1), (h2, w2) = ir.rgb.shape[:2], vi.rgb.shape[:2]
            raise SequenceError(
                f"infrared frames are {w1}x{h1} and visible ones {w2}x{h2}: --register auto brings them together"
            )
        if min(vi.rgb.shape[:2]) < MULTIPLE:
            raise SequenceError(f"frames need at least {MULTIPLE} pixels a side, but are {vi.rgb.shape[:2]}")
        coloured = [place for place, frame in enumerate((ir, vi)) if is_coloured(frame.rgb)]
        wanted = {"off": [], "ir": [0], "vi": [1]}.get(str(self.config.color), coloured)
        self.colour_of = wanted[-1] if wanted and wanted[-1] in coloured else None
        if isinstance(self.em, LocalFast):
            task = self.em.task
            if task == "auto":
                task, why = detect_task(self._lumas(ir, vi))
                log.info(f"task: {task} for the whole sequence, for in the first frame {why}")
            self.tone_of_task = WEIGHINGS[task].tone if self.em.tone is None else self.em.tone
            self.em = dataclasses.replace(self.em, task=task, tone=0.0)  # the tone is this class's

    def go_on(self, steady: Steady, ir: Frame, vi: Frame, shown: np.ndarray) -> None:
        """Behind a pair whose fused luma, (H, W) uint8, was ``shown``, with what was estimated until then."""
        self.steady, self._before = steady, self._lumas(ir, vi)
        self.steady.shown = shown

    def fuse(self, pairs: Iterator[tuple[int, Frame, Frame]]) -> Iterator[FusedFrame]:
        """The fused frames of numbered pairs, in order. Raises what reading and fusing raise, after those before."""
        threads = torch.get_num_threads()
        making: deque[_Task] = deque()
        colouring: deque[Future[FusedFrame]] = deque()
        if self.workers > 1:
            torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(self.workers) as pool:
                error: Exception | None = None
                try:
                    for number, ir, vi in pairs:
                        making.append(self._begin(pool, number, ir, vi))
                        while len(making) > self.workers:
                            colouring.append(self._end(pool, making.popleft()))
                        while len(colouring) > self.workers:
                            yield colouring.popleft().result()
                except (ValueError, OSError) as found:  # of reading: what has been begun is finished
                    error = found
                while making:
                    colouring.append(self._end(pool, making.popleft()))
                while colouring:
                    yield colouring.popleft().result()
                if error is not None:
                    raise error
        finally:
            torch.set_num_threads(threads)

    def _begin(self, pool: ThreadPoolExecutor, number: int, ir: Frame, vi: Frame) -> _Task:
        lumas, before = self._lumas(ir, vi), self._before
        self._before = lumas
        noise = self.config.noise
        if noise == "auto":
            sigmas = self.steady.noise([each[0] for each in find_noise(lumas, "auto")[1]])
        else:
            sigmas = [0.0, 0.0] if noise == "off" else [float(sigma) for sigma in noise]
        state = {"sigmas": self.steady.sigmas, "noisy": list(self.steady.noisy)}
        frame = (ir, vi)[1 if self.colour_of is None else self.colour_of]
        kept = Frame(frame.rgb, vi.time)
        return _Task(
            number, kept, sigmas, state, pool.submit(self._fuse, lumas, sigmas, before, vi.rgb.shape[:2])
        )

    def _lumas(self, ir: Frame, vi: Frame) -> list[Tensor]:
        device = getattr(self.prior, "device", "cpu")
        return [luma_tensor(fit(grey_from_rgb(each.rgb), "pad")[None], device) for each in (ir, vi)]

    def _fuse(
        self, lumas: list[Tensor], sigmas: list[float], before: list[Tensor] | None, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, np.ndarray | None]:
        """Fused luma and activity, (1, 1, H, W) on the CPU, and the share of the frame before, (H, W)."""
        config = self.config
        em = _Watched(self.em) if self.tone_of_task else self.em
        sources, _ = clean_sources(lumas, "off" if config.noise == "off" else sigmas, self.prior, config.seed)
        fused = fusion.fuse(
            None if config.prior == "noise" else self.prior,
            sources,
            diffusion=self.diffusion,
            rectification=em,
            sampler=self.sampler,
            seed=config.seed,
            warm_start=config.warm_start,
            cores=[fitted_size(size, "crop")],
        )
        activity = em.first.deviation if isinstance(em, _Watched) and em.first else fused
        height, width = size
        share = None if before is None else calm(lumas, before)[0, 0, :height, :width].cpu().numpy()
        return fused[..., :height, :width].cpu(), activity[..., :height, :width].cpu(), share

    def _end(self, pool: ThreadPoolExecutor, task: _Task) -> Future[FusedFrame]:
        fused, activity, share = task.fused.result()
        if self.stretched:
            levels = self.steady.stretch(fused[0, 0].numpy())
        else:
            if self.tone_of_task:
                fused = self.steady.tone(fused, self.tone_of_task, activity)
            levels = levels_of(fused[0, 0].numpy())
        grey = self.steady.hold(levels, share)
        state = {**self.steady.to_json(), **task.noise_state}
        return pool.submit(self._colour, task, grey, state)

    def _colour(self, task: _Task, grey: np.ndarray, state: dict[str, Any]) -> FusedFrame:
        image = grey if self.colour_of is None else colourise(grey, task.frame.rgb, self.config.color_method)
        return FusedFrame(task.number, task.frame.time, image, state)
