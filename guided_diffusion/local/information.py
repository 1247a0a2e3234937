"""What a fused image tells of its sources: three likelihoods with local latents, and their gradients.

Equations are those of docs/local.md. Images are (B, 1, H, W) in grey levels, 0 ... 255. Each class keeps what it
needs of the sources; ``score(f)`` returns the likelihood of each image, (B, 1, 1, 1), and its gradient with respect
to f. By Fisher's identity that is the gradient of the expected complete likelihood with the latents of the E-step
put in, which is how it is computed: no automatic differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from guided_diffusion.neumann import correlate, gaussian_window

SCALE_WINDOWS = [gaussian_window((2 * r + 1) / 5, r) for r in (8, 4, 2, 1)]
STRUCTURE_WINDOW = [1 / 7] * 7
Score = tuple[Tensor, Tensor]


class Moments:
    """Local mean and variance of one image in a window, computed of the image less its mean (float32)."""

    def __init__(self, image: Tensor, window: Sequence[float]) -> None:
        self.image = image
        self.mean = correlate(image, window)
        self.variance = (correlate(image.square(), window) - self.mean.square()).clamp(min=0)


class Information:
    """The mutual information of f and each source in neighbourhoods of four scales, Eq. (6); 1 for f = source.

    In each neighbourhood f = g source + noise of variance v, seen with ``noise`` of its own (grey levels squared).
    E-step, Eq. (7): g and v by regression; a gain below 0 counts as none.
    """

    def __init__(self, sources: Sequence[Tensor], noise: float = 2.0) -> None:
        self.noise = noise
        self.scales: list[list[Moments]] = []
        images = list(sources)
        for scale, window in enumerate(SCALE_WINDOWS):
            if scale:
                images = [_halve(correlate(image, window)) for image in images]
            self.scales.append([Moments(image, window) for image in images])
        self.total = [
            torch.stack([torch.log1p(m.variance / noise).sum(dim=(1, 2, 3)) for m in per_source])
            .sum(dim=0)
            .clamp(min=1e-3)
            .view(-1, 1, 1, 1)
            for per_source in zip(*self.scales, strict=True)
        ]

    def score(self, f: Tensor) -> Score:
        """Eq. (6) and its gradient, Eq. (8), from the coarsest scale to the finest."""
        pyramid = [f]
        for window in SCALE_WINDOWS[1:]:
            pyramid.append(_halve(correlate(pyramid[-1], window)))
        value = torch.zeros_like(f[:, :1, :1, :1])
        below = torch.zeros_like(pyramid[-1])
        for scale in (3, 2, 1, 0):
            part, gradient = self._scale_score(scale, pyramid[scale])
            value, gradient = value + part, gradient + below
            if scale:
                below = correlate(_double(gradient, pyramid[scale - 1]), SCALE_WINDOWS[scale])
        return value, gradient

    def _scale_score(self, scale: int, f: Tensor) -> Score:
        window, own = SCALE_WINDOWS[scale], Moments(f, SCALE_WINDOWS[scale])
        value = torch.zeros_like(f[:, :1, :1, :1])
        gradient, mean, square = torch.zeros_like(f), torch.zeros_like(f), torch.zeros_like(f)
        for source, total in zip(self.scales[scale], self.total, strict=True):
            covariance = correlate(source.image * f, window) - source.mean * own.mean
            gain = (covariance / (source.variance + 1e-2)).clamp(min=0)
            precision = 1 / ((own.variance - gain * covariance).clamp(min=0) + self.noise)
            prior_precision = torch.where(gain > 0, 1 / (own.variance + self.noise), precision)
            value = value + torch.log(precision / prior_precision).sum(dim=(1, 2, 3), keepdim=True) / total
            by_variance = (prior_precision - precision) / total
            by_covariance = 2 * gain * precision / total
            gradient = gradient + source.image * correlate(by_covariance, window)
            mean = mean - by_covariance * source.mean
            square = square + by_variance
        mean = mean - 2 * square * own.mean
        return value, gradient + correlate(mean, window) + 2 * f * correlate(square, window)


class Structure:
    """How near f is to each source in level and pattern in 7x7 windows, Eq. (9): sum of mean SSIM (Wang et al. 2004).

    ``level``, ``contrast``: the constants C1 and C2, in grey levels squared.
    """

    def __init__(self, sources: Sequence[Tensor], level: float = 4e-4, contrast: float = 3.6e-3) -> None:
        self.level, self.contrast = level, contrast
        self.sources = [Moments(source, STRUCTURE_WINDOW) for source in sources]

    def score(self, f: Tensor) -> Score:
        """Eq. (9) and its gradient."""
        window, own, sample = STRUCTURE_WINDOW, Moments(f, STRUCTURE_WINDOW), 49 / 48
        value = torch.zeros_like(f[:, :1, :1, :1])
        gradient, mean, square = torch.zeros_like(f), torch.zeros_like(f), torch.zeros_like(f)
        for source in self.sources:
            covariance = correlate(source.image * f, window) - source.mean * own.mean
            energy = sample * (source.variance + own.variance) + self.contrast
            pattern = (2 * sample * covariance + self.contrast) / energy
            levels = source.mean.square() + own.mean.square() + self.level
            level = (2 * source.mean * own.mean + self.level) / levels
            value = value + (level * pattern).mean(dim=(1, 2, 3), keepdim=True)
            by_covariance = 2 * sample * level / energy
            by_variance = -sample * level * pattern / energy
            by_mean = 2 * pattern * (source.mean - level * own.mean) / levels
            gradient = gradient + source.image * correlate(by_covariance, window)
            mean = mean + by_mean - by_covariance * source.mean - 2 * by_variance * own.mean
            square = square + by_variance
        gradient = gradient + correlate(mean, window) + 2 * f * correlate(square, window)
        return value, gradient / (f.shape[-1] * f.shape[-2])


class Edges:
    """The share of the sources' edges that f keeps, Eq. (10): each edge is kept or lost, a latent of its own.

    The probability of "kept" is logistic in the ratio of the strengths and in the angle between both gradients,
    with the constants of Xydeas and Petrovic (2000); strong edges count more.
    """

    SLOPES, THRESHOLDS, GAIN = (15.0, 22.0), (0.5, 0.8), 0.9994 * 0.9879
    FLAT = 1e-3  # added to squared gradients, so that their length has a derivative

    def __init__(self, sources: Sequence[Tensor]) -> None:
        self.sources = []
        for source in sources:
            along, across = sobel(source)
            self.sources.append((along, across, (along.square() + across.square() + self.FLAT).sqrt()))
        self.total = sum(strength.sum(dim=(1, 2, 3), keepdim=True) for _, _, strength in self.sources)

    def score(self, f: Tensor) -> Score:
        """Eq. (10) and its gradient."""
        along, across = sobel(f)
        power = along.square() + across.square() + self.FLAT
        own = power.sqrt()
        value = torch.zeros_like(f[:, :1, :1, :1])
        by_strength, by_angle = torch.zeros_like(f), torch.zeros_like(f)
        for x, y, strength in self.sources:
            weaker = own < strength
            ratio = torch.where(weaker, own / strength, strength / own)
            cross, dot = x * across - y * along, x * along + y * across
            angle = torch.atan(cross / torch.where(dot.abs() < 1e-6, torch.full_like(dot, 1e-6), dot))
            kept = torch.sigmoid(self.SLOPES[0] * (ratio - self.THRESHOLDS[0]))
            aligned = torch.sigmoid(self.SLOPES[1] * (1 - angle.abs() * (2 / math.pi) - self.THRESHOLDS[1]))
            weight = self.GAIN * strength / self.total * kept * aligned
            value = value + weight.sum(dim=(1, 2, 3), keepdim=True)
            slope = torch.where(weaker, 1 / strength, -strength / power)
            by_strength = by_strength + self.SLOPES[0] * weight * (1 - kept) * slope
            by_angle = by_angle - self.SLOPES[1] * (2 / math.pi) * weight * (1 - aligned) * angle.sign()
        return value, sobel_adjoint(
            by_strength * along / own - by_angle * across / power,
            by_strength * across / own + by_angle * along / power,
        )


def sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel responses along rows and along columns, mirrored borders."""
    image = _mirror_pad(image)
    smooth_rows = image[..., :-2, :] + 2 * image[..., 1:-1, :] + image[..., 2:, :]
    smooth_columns = image[..., :-2] + 2 * image[..., 1:-1] + image[..., 2:]
    return smooth_rows[..., 2:] - smooth_rows[..., :-2], smooth_columns[..., 2:, :] - smooth_columns[
        ..., :-2, :
    ]


def sobel_adjoint(along: Tensor, across: Tensor) -> Tensor:
    """The adjoint of :func:`sobel`."""
    along, across = pad(along, (2, 2)), pad(across, (0, 0, 2, 2))
    along = pad(along[..., :-2] - along[..., 2:], (0, 0, 2, 2))
    across = pad(across[..., :-2, :] - across[..., 2:, :], (2, 2))
    padded = along[..., :-2, :] + 2 * along[..., 1:-1, :] + along[..., 2:, :]
    padded = padded + across[..., :-2] + 2 * across[..., 1:-1] + across[..., 2:]
    padded[..., 1] += padded[..., 0]
    padded[..., -2] += padded[..., -1]
    padded = padded[..., 1:-1]
    padded[..., 1, :] += padded[..., 0, :]
    padded[..., -2, :] += padded[..., -1, :]
    return padded[..., 1:-1, :]


def _mirror_pad(image: Tensor) -> Tensor:
    image = torch.cat((image[..., :1], image, image[..., -1:]), dim=-1)
    return torch.cat((image[..., :1, :], image, image[..., -1:, :]), dim=-2)


def _halve(image: Tensor) -> Tensor:
    return image[..., ::2, ::2]


def _double(image: Tensor, like: Tensor) -> Tensor:
    """The adjoint of :func:`_halve`."""
    result = torch.zeros_like(like)
    result[..., ::2, ::2] = image
    return result
