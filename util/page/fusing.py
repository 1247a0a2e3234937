"""One scene fused at a time, told of step by step, and stopped between steps when nobody waits for it any more."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from guided_diffusion.config import RuntimeConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.local.weights import detect_task
from guided_diffusion.rectification import is_stretched
from guided_diffusion.samplers import Step
from guided_diffusion.ycbcr import full_range_luma, luma_tensor
from util.images.levels import round_to_uint8, written_levels
from util.images.registration.applying import all_onto_last
from util.page.choices import Choices
from util.page.limits import Limits
from util.page.outcome import Outcome, measure
from util.page.pictures import Picture, check_sizes
from util.presets import Preset
from util.prior import LoadedPrior

POLL = 0.2  # seconds between two looks at a run
ABANDONED = 10.0  # seconds after which a run that nobody looks at ends

log = logging.getLogger("ddfm")


class Stopped(Exception):
    """A run has been ended between two steps; the message says why."""


@dataclass(frozen=True, eq=False)
class Progress:
    """``done`` of ``steps``, after ``seconds``; ``image``: the state, (H, W) uint8, None before the first step."""

    words: str
    seconds: float
    done: int = 0
    steps: int = 0
    image: np.ndarray | None = None


class Desk:
    """Fuses scenes, one after the other, on one device with priors that stay open."""

    def __init__(self, limits: Limits, device: str = "auto") -> None:
        self.limits, self.device = limits, device
        self.turn = threading.Lock()
        self._open: dict[tuple[Any, RuntimeConfig], LoadedPrior] = {}

    def prior(self, chosen: Preset) -> LoadedPrior | None:
        """The prior that it asks, None if it asks none. Raises as :func:`~util.prior.open_prior` does."""
        if chosen.fusion.prior is False:
            return None
        key = (chosen.model_config, chosen.fusion.runtime)
        if key not in self._open:
            opened = chosen.open_prior(self.device)
            assert opened is not None
            self._open[key] = opened
        process = GaussianDiffusion.from_config(chosen.diffusion)
        return dataclasses.replace(self._open[key], diffusion=process)


class Run:
    """One scene on its way. Raises ValueError for what cannot be fused, before anything is computed."""

    def __init__(self, desk: Desk, pictures: Sequence[Picture], choices: Choices) -> None:
        if len(pictures) < 2:
            raise ValueError("fusing needs two images: choose a first and a second one, or a sample pair")
        if choices.register == "off":
            check_sizes(pictures)
        self.desk, self.pictures, self.choices = desk, list(pictures), choices
        self.preset = choices.preset()
        self._reason, self._step, self._steps, self._taken = "", None, 0, 0
        self._began = self._seen = time.monotonic()
        self._words = "waiting for the scene before"
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None

    @property
    def under_way(self) -> bool:
        """Whether it has been started and has not ended; it may wait for its turn."""
        return self._thread.is_alive()

    def stop(self, reason: str) -> None:
        """End it after the step that it is in."""
        self._reason = self._reason or reason

    def follow(self) -> Generator[Progress, None, None]:
        """Start, and tell how far it is, several times a second, until it has ended. One that is not followed any
        more ends by itself.
        """
        self._thread.start()
        try:
            while self._thread.is_alive():
                self._thread.join(POLL)
                self._seen = time.monotonic()
                yield self._progress()
        finally:
            self.stop("nobody waits for it any more")

    def outcome(self) -> Outcome:
        """What has come of it, once it has ended. Raises what ended it: ValueError, Stopped or another."""
        if self._error is not None:
            raise self._error
        assert self._outcome is not None
        return self._outcome

    def _work(self) -> None:
        try:
            while not self.desk.turn.acquire(timeout=POLL):
                self._check_wanted()
            try:
                self._began = time.monotonic()
                self._outcome = self._fuse()
            finally:
                self.desk.turn.release()
        except BaseException as error:  # told by outcome(), in the visitor's thread
            self._error = error

    def _fuse(self) -> Outcome:
        self._check()
        self._words = "getting ready"
        prior = self.desk.prior(self.preset)
        registrations = self._bring_together()
        self._words = "fusing"
        started = time.monotonic()
        fused = self.preset.fuse([picture.pixels for picture in self.pictures], prior, self._on_step)
        seconds = time.monotonic() - started
        self._words = "measuring"
        scores, unmeasured = measure(fused.grey, self.pictures)
        provenance = {
            **fused.provenance,
            **({"registration": registrations} if registrations else {}),
            "preset": self.choices.method,
            "sources": [{"name": picture.name, "sha256": picture.sha256} for picture in self.pictures],
        }
        medical = self._scene() == "mif"
        return Outcome(
            self.pictures,
            fused.grey,
            fused.color,
            medical,
            provenance,
            seconds,
            scores,
            unmeasured,
            fused.deviation,
        )

    def _bring_together(self) -> list[dict[str, Any]]:
        """Put all images on the grid of the last, and tell how. Raises RegistrationError."""
        if self.choices.register == "off":
            return []
        self._words = "bringing the images together"
        names = [picture.name for picture in self.pictures]
        self.pictures, outcomes = all_onto_last(self.pictures, self.choices.register, names)
        return outcomes

    def _scene(self) -> str:
        if self.choices.scene != "auto":
            return self.choices.scene
        return detect_task([luma_tensor(picture.luma[None], "cpu") for picture in self.pictures])[0]

    def _on_step(self, step: Step) -> None:
        self._steps = self._steps or step.index + 1
        self._taken, self._step = self._taken + 1, step
        self._check()

    def _check(self) -> None:
        """Raise Stopped where it is to end."""
        limit = self.desk.limits.seconds
        if time.monotonic() - self._began > limit:
            self.stop(
                f"the time limit of {limit} s is over; choose fewer steps, another method or smaller images"
            )
        self._check_wanted()

    def _check_wanted(self) -> None:
        """Raise Stopped where somebody said so, or nobody waits."""
        if time.monotonic() - self._seen > ABANDONED:
            self.stop("nobody waits for it any more")
        if self._reason:
            raise Stopped(self._reason)

    def _progress(self) -> Progress:
        seconds, step = time.monotonic() - self._began, self._step
        if step is None:
            return Progress(self._words, seconds)
        height, width = self.pictures[-1].size
        with torch.no_grad():
            luma = full_range_luma(step.x_t)[0, 0, :height, :width].cpu().numpy()
        levels = written_levels(luma, is_stretched(self.preset.fusion.em))
        return Progress(
            self._words,
            seconds,
            self._taken,
            self._steps * self.choices.samples,
            round_to_uint8(levels),
        )
