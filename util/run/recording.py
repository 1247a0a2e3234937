"""What is kept of the steps of a pair: a PNG file for each, or all in one animation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from util.images.animation import AnimationForm, animation_text, shrink, write_animation
from util.images.colour import ColourMethod, colourise
from util.images.png import png_header_text, write_png

RecordForm = Literal["png", "webp", "gif"]
RECORD_FORMS: tuple[RecordForm, ...] = ("png", "webp", "gif")


class Recorder(Protocol):
    """Keeps the states of pairs, each by its stem; ``fingerprint``: of what makes them."""

    def start(self, stem: str) -> None:
        """Forget, and remove, what an earlier run or attempt has left."""
        ...

    def add(self, stem: str, index: int, state: np.ndarray, fingerprint: str) -> None:
        """Keep a state, (H, W) uint8; ``index``: steps that are left after it. Raises OSError."""
        ...

    def finish(self, stem: str, rgb: np.ndarray | None, fingerprint: str) -> list[Path]:
        """The pair is fused; ``rgb``: (H, W, 3) uint8, what gives it colour. Returns new files. Raises OSError."""
        ...

    def is_done(self, stem: str, steps: int, fingerprint: str) -> bool:
        """Whether that many states are there, judged without decoding."""
        ...


@dataclass(frozen=True)
class StepFiles:
    """As published: ``STEM/x_0099.png`` ... ``x_0000.png``, the last one being the last state, below ``folder``."""

    folder: Path

    def start(self, stem: str) -> None:
        for old in (self.folder / stem).glob("x_*.png"):
            old.unlink()

    def add(self, stem: str, index: int, state: np.ndarray, fingerprint: str) -> None:
        write_png(self.folder / stem / f"x_{index:04d}.png", state, {"fingerprint": fingerprint})

    def finish(self, stem: str, rgb: np.ndarray | None, fingerprint: str) -> list[Path]:
        return []

    def is_done(self, stem: str, steps: int, fingerprint: str) -> bool:
        found = sorted((self.folder / stem).glob("x_*.png"))
        return len(found) >= steps and all(
            png_header_text(path).get("fingerprint") == fingerprint for path in found
        )


@dataclass(frozen=True)
class Animation:
    """``STEM/steps.webp`` and, where there is colour, ``STEM/steps_color.webp`` below ``folder``, or the same as GIF.

    The states in the order of time, small enough to be looked at, see :data:`util.images.animation.SIDE`.
    """

    folder: Path
    form: AnimationForm
    color_method: ColourMethod
    _states: dict[str, list[np.ndarray]] = field(default_factory=dict, repr=False)

    def start(self, stem: str) -> None:
        self._states[stem] = []
        for path in self._paths(stem):
            path.unlink(missing_ok=True)

    def add(self, stem: str, index: int, state: np.ndarray, fingerprint: str) -> None:
        self._states[stem].append(shrink(state))

    def finish(self, stem: str, rgb: np.ndarray | None, fingerprint: str) -> list[Path]:
        """The grey one comes last, so that its presence means that both are there."""
        states, (grey, colour) = self._states.pop(stem), self._paths(stem)
        written = []
        if rgb is not None:
            small = shrink(rgb)
            frames = [colourise(state, small, self.color_method) for state in states]
            write_animation(colour, frames, self.form, fingerprint)
            written.append(colour)
        write_animation(grey, states, self.form, fingerprint)
        return [*written, grey]

    def is_done(self, stem: str, steps: int, fingerprint: str) -> bool:
        return animation_text(self._paths(stem)[0]) == fingerprint

    def _paths(self, stem: str) -> tuple[Path, Path]:
        folder = self.folder / stem
        return folder / f"steps.{self.form}", folder / f"steps_color.{self.form}"


def recorder_of(form: RecordForm, folder: Path, color_method: ColourMethod) -> Recorder:
    """The one that keeps states in that form below ``folder``."""
    return StepFiles(folder) if form == "png" else Animation(folder, form, color_method)
