"""Whose level and whose gradient counts where: local weights of N sources, by the task and by their noise.

Equations are those of docs/local.md. Sources are (B, 1, H, W) luma in [-1, 1], 2 to 8 of one size. ``noise``: the
standard deviation of what noise each still has, in the same units (grey levels / 127.5): a source each, (B, 1, 1, 1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from guided_diffusion.neumann import blur, gradient, squared_gradient, wide_blur

Task = Literal["ivf", "mif", "focus", "exposure"]
TINY = 1e-12
COARSE = 1.5  # pixels of blur at which directions are compared
SCALES = (1.0, 4.0, 16.0, 64.0)  # pixels of blur between the bands in which exposures are blended


@dataclass(frozen=True)
class Weighing:
    """What differs between tasks: windows in pixels, exponents, and alpha / W of Eq. (3).

    ``window``, ``power``: of the energies that choose gradients, Eq. (2). ``balance``: alpha / W.
    ``tone``: how strongly levels are spread unless said otherwise: those of slices and of photographs are as they
    should be. ``agreement``: kappa of Eq. (2), how much less a gradient counts that goes against the levels chosen.
    ``climbs``: whether iterations follow; they ask for every source everywhere, and what is out of focus is none.
    """

    window: float
    power: float
    balance: float
    tone: float
    agreement: float
    climbs: bool = True


WEIGHINGS: dict[Task, Weighing] = {
    "ivf": Weighing(window=0.7, power=2.0, balance=40.0, tone=0.25, agreement=4.0),
    "mif": Weighing(window=0.7, power=2.0, balance=40.0, tone=0.0, agreement=4.0),
    "focus": Weighing(window=3.0, power=3.0, balance=30.0, tone=0.0, agreement=0.0, climbs=False),
    "exposure": Weighing(window=0.7, power=2.0, balance=30.0, tone=0.0, agreement=0.0),
}


def gradient_target(
    sources: Sequence[Tensor], task: Task, noise: Sequence[Tensor], levels: Tensor
) -> tuple[Tensor, Tensor]:
    """g, Eq. (2): the expected gradient of the clean sources, averaged with weights of their local energies.

    levels: T of Eq. (1), (B, 1, H, W). Where a source is bright on the side on which T is dark, its edge would
    leave a halo; the angle between both gradients, at the scale of 1.5 pixels, says so.

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
    chosen = gradient(blur(levels, COARSE)) if weighing.agreement else None
    for source, sigma in zip(sources, noise, strict=True):
        own = gradient(source)
        energy = blur(own[0].square() + own[1].square(), weighing.window)
        clean = (energy - 4 * sigma.square()).clamp(min=0)
        gain = (clean + TINY) / (energy + TINY)
        weight = clean.pow(weighing.power) + TINY**weighing.power
        if chosen is not None:
            cosine = _cosine(gradient(blur(source, COARSE)), chosen)
            weight = weight * torch.exp(weighing.agreement * (cosine - 1))
        total = total + weight
        along, across = along + weight * gain * own[0], across + weight * gain * own[1]
    return along / total, across / total


def _cosine(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """Of the angle between two gradient fields, averaged around a pixel by their lengths; 0 in flats."""
    dot = a[0] * b[0] + a[1] * b[1]
    lengths = ((a[0].square() + a[1].square()) * (b[0].square() + b[1].square())).sqrt()
    return blur(dot, 1.0) / (blur(lengths, 1.0) + 1e-6)


def level_target(sources: Sequence[Tensor], task: Task, noise: Sequence[Tensor]) -> Tensor:
    """T, Eq. (1): the levels of the sources, averaged with the weights of the task; (B, 1, H, W)."""
    if task == "exposure":
        return _blended_by_scale(sources, _shares_of_exposures(sources))
    return _average(level_weights(sources, task, noise), sources)


def _blended_by_scale(sources: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Each band of scales averaged with weights as coarse as the band is: exposures differ by most of the range, and
    one smoothing of the weights shows as clouds or, where it is too weak, as seams."""
    blended, finer = torch.zeros_like(sources[0]), list(sources)
    for sigma in SCALES:
        coarser = [wide_blur(source, sigma) for source in finer]
        weights = [wide_blur(weight, sigma) for weight in weights]
        blended = blended + _average(weights, [a - b for a, b in zip(finer, coarser, strict=True)])
        finer = coarser
    return blended + _average(weights, finer)


def _average(weights: Sequence[Tensor], images: Sequence[Tensor]) -> Tensor:
    return sum((w * image for w, image in zip(weights, images, strict=True)), torch.zeros_like(images[0]))


def _shares_of_exposures(sources: Sequence[Tensor]) -> list[Tensor]:
    """How well each source is exposed at a pixel, (B, 1, H, W) each, as shares that sum to 1."""
    scores = [-((source + 1) / 2 - 0.5).square() / (2 * 0.2**2) for source in sources]
    return list(torch.softmax(torch.cat(scores, dim=1), dim=1).split(1, dim=1))


def level_weights(sources: Sequence[Tensor], task: Task, noise: Sequence[Tensor]) -> list[Tensor]:
    """omega_s of Eq. (1), each (B, 1, H, W); they sum to 1 at every pixel. Exposures: at the scale of 16 pixels."""
    if task == "exposure":
        return [blur(share, 16.0) for share in _shares_of_exposures(sources)]
    scores: list[Tensor] = []
    for source, sigma in zip(sources, noise, strict=True):
        energy = squared_gradient(source) if task != "focus" else blur(squared_gradient(source), 6.0)
        energy = (energy - 4 * sigma.square()).clamp(min=0)
        if task == "focus":
            scores.append(4 * torch.log(energy + TINY))
        else:
            noisy = sigma > 0
            seen = torch.where(noisy, blur(source, 1.0), source) if bool(noisy.any()) else source
            scores.append(6 * seen + 12 * energy.sqrt())
    shares = torch.softmax(torch.cat(scores, dim=1), dim=1)
    if task != "focus":
        shares = blur(shares, 3.0)
    return list((shares / shares.sum(dim=1, keepdim=True)).split(1, dim=1))


def task_of_names(names: Sequence[str]) -> tuple[Task, str] | None:
    """The task that names of folders tell, and the word that tells it; None where none does."""
    words = [word for name in names for word in re.split("[^a-z0-9]+", name.lower())]
    for task, keys in _WORDS.items():
        for key in keys:
            if key in words:
                return task, key
    return None


def detect_task(sources: Sequence[Tensor]) -> tuple[Task, str]:
    """The task that one scene, (1, 1, H, W) a source, speaks for, and why.

    A black surround (both sources, blurred by 2 pixels, below level 10 in 30% of the pixels) speaks for slices of a
    body. Levels that correlate by 0.88 when blurred by 8 pixels, and means that are equal, speak for focus: out of
    focus is blurred, and blurred alike they are one scene. Means that differ by 0.2 of the range or more speak for
    exposures, with a correlation of 0.5 or one of the ranks of 0.8, as curves of exposure rise but saturate. What is
    left is ``ivf``. Reads a few numbers from the device.
    """
    stack = torch.cat([source[:1].float() for source in sources], dim=1)
    flat = stack[0].flatten(1)
    means = flat.mean(dim=1)
    apart = float(means.max() - means.min()) / 2
    black = float((blur(stack.amax(dim=1, keepdim=True), 2.0) < 2 * 10 / 255 - 1).float().mean())
    alike, coarse, ranks = (
        _least_correlation(each) for each in (flat, blur(stack, 8.0)[0].flatten(1), _ranks(flat))
    )
    if black >= 0.3:
        return "mif", f"{black:.0%} of the pixels are black in all sources"
    if coarse > 0.88 and apart < 0.05:
        return "focus", f"the sources correlate by {coarse:.2f} when blurred and are equally bright"
    if apart >= 0.2 and (alike > 0.5 or ranks > 0.8):
        return "exposure", (
            f"the sources correlate by {alike:.2f} ({ranks:.2f} in ranks) but differ in brightness by {apart:.0%}"
        )
    return "ivf", f"the sources correlate by {alike:.2f} and differ in brightness by {apart:.0%}"


def _ranks(rows: Tensor) -> Tensor:
    """Of each value in its row; equal values share the mean of theirs."""
    ordered, rows = rows.sort(dim=1).values, rows.contiguous()
    sides = (torch.searchsorted(ordered, rows, right=right) for right in (False, True))
    return sum(sides, torch.zeros_like(rows)) / 2


def _least_correlation(rows: Tensor) -> float:
    return float(torch.corrcoef(rows.float()).nan_to_num(0).min())


_WORDS: dict[Task, tuple[str, ...]] = {
    "focus": ("focus", "multifocus", "near", "far"),
    "exposure": ("exposure", "multiexposure", "over", "under"),
    "mif": ("mri", "pet", "spect", "ct", "medical", "harvard"),
    "ivf": ("infrared", "thermal", "visible", "roadscene", "tno", "msrs", "m3fd", "llvip"),
}
