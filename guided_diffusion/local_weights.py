"""Whose level and whose gradient counts where: local weights of N sources, by the task and by their noise.

Equations are those of docs/local.md. Sources are (B, 1, H, W) luma in [-1, 1], 2 to 8 of one size. ``noise``: the
standard deviation of what noise each still has, one number a source, in the same units (grey levels / 127.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from guided_diffusion.neumann import blur, gradient, squared_gradient

Task = Literal["ivf", "mif", "focus", "exposure"]
TINY = 1e-12


@dataclass(frozen=True)
class Weighing:
    """What differs between tasks: windows in pixels, exponents, and alpha / W of Eq. (3).

    ``window``, ``power``: of the energies that choose gradients, Eq. (2). ``balance``: alpha / W.
    """

    window: float
    power: float
    balance: float


WEIGHINGS: dict[Task, Weighing] = {
    "ivf": Weighing(window=0.7, power=2.0, balance=150.0),
    "mif": Weighing(window=0.7, power=2.0, balance=150.0),
    "focus": Weighing(window=3.0, power=3.0, balance=30.0),
    "exposure": Weighing(window=0.7, power=2.0, balance=30.0),
}


def gradient_target(sources: Sequence[Tensor], task: Task, noise: Sequence[float]) -> tuple[Tensor, Tensor]:
    """g, Eq. (2): the expected gradient of the clean sources, averaged with weights of their local energies.

    Returns the differences along rows and along columns, (B, 1, H, W) each. A gradient's two differences carry
    4 sigma^2 of a source's white noise together: that much energy is taken off, and what is left over the whole is
    the gain with which the gradient is believed.
    """
    weighing = WEIGHINGS[task]
    total, along, across = (
        torch.zeros_like(sources[0]),
        torch.zeros_like(sources[0]),
        torch.zeros_like(sources[0]),
    )
    for source, sigma in zip(sources, noise, strict=True):
        energy = blur(squared_gradient(source), weighing.window)
        clean = (energy - 4 * sigma**2).clamp(min=0)
        gain = clean / (energy + TINY) if sigma > 0 else torch.ones_like(energy)
        weight = clean.pow(weighing.power) + TINY**weighing.power
        own = gradient(source)
        total = total + weight
        along, across = along + weight * gain * own[0], across + weight * gain * own[1]
    return along / total, across / total


def level_target(sources: Sequence[Tensor], task: Task, noise: Sequence[float]) -> Tensor:
    """T, Eq. (1): the levels of the sources, averaged with the weights of the task; (B, 1, H, W)."""
    weights = level_weights(sources, task, noise)
    return sum((w * source for w, source in zip(weights, sources, strict=True)), torch.zeros_like(sources[0]))


def level_weights(sources: Sequence[Tensor], task: Task, noise: Sequence[float]) -> list[Tensor]:
    """omega_s of Eq. (1), each (B, 1, H, W); they sum to 1 at every pixel."""
    scores: list[Tensor] = []
    for source, sigma in zip(sources, noise, strict=True):
        if task == "exposure":
            scores.append(-((source + 1) / 2 - 0.5).square() / (2 * 0.2**2))
            continue
        energy = squared_gradient(source) if task != "focus" else blur(squared_gradient(source), 6.0)
        energy = (energy - 4 * sigma**2).clamp(min=0)
        if task == "focus":
            scores.append(4 * torch.log(energy + TINY))
        else:
            seen = source if sigma == 0 else blur(source, 1.0)
            scores.append(6 * seen + 12 * energy.sqrt())
    shares = torch.softmax(torch.cat(scores, dim=1), dim=1)
    if task != "focus":
        shares = blur(shares, 16.0 if task == "exposure" else 3.0)
    return list((shares / shares.sum(dim=1, keepdim=True)).split(1, dim=1))


def detect_task(sources: Sequence[Tensor], names: Sequence[str] = ()) -> tuple[Task, str]:
    """The task that the names of the folders and the images themselves speak for, and why, for the log.

    names: of the sources' folders, with their parents'. Names decide where they say something. Then more than two
    sources, or a visible structure in common (correlation of the levels above 0.95), speak for one camera: with
    other levels (means that differ by 0.2 of the range or more) for exposures, else for focus. A black surround
    (a quarter of the pixels below level 3 in all sources) speaks for slices of a body. What is left is ``ivf``.
    Reads four numbers from the device, once.
    """
    words = "/".join(names).lower()
    for task, keys in _WORDS.items():
        for key in keys:
            if key in words:
                return task, f"the name {key}"
    stack = torch.cat([source[:1].float() for source in sources], dim=1)[0].flatten(1)
    correlation = torch.corrcoef(stack)
    least = float(correlation.nan_to_num(0).min())
    means = stack.mean(dim=1)
    apart = float(means.max() - means.min()) / 2
    black = float((stack.amax(dim=0) < 2 * 3 / 255 - 1).float().mean())
    if black >= 0.25:
        return "mif", f"{black:.0%} of the pixels are black in all sources"
    if least > 0.95 and apart < 0.05:
        return "focus", f"the sources correlate by {least:.2f} and are equally bright"
    if apart >= 0.2 and least > 0.5:
        return "exposure", f"the sources correlate by {least:.2f} but differ in brightness by {apart:.0%}"
    return "ivf", f"the sources correlate by {least:.2f} and differ in brightness by {apart:.0%}"


_WORDS: dict[Task, tuple[str, ...]] = {
    "focus": ("focus", "near", "far"),
    "exposure": ("exposure", "over", "under"),
    "mif": ("mri", "pet", "spect", "_ct", "medical"),
    "ivf": ("infrared", "thermal", "visible", "roadscene", "tno", "msrs", "m3fd", "llvip"),
}
