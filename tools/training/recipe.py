"""What decides the weights of a prior: the recipe, and the images, timesteps and noise of every step."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig, ModelConfig
from tools.training.optimizers import check_optimizer
from tools.training.photos import Crop, darken, draw_crop, retone, to_batch
from util.images.image_io import grey_from_rgb


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A run may only be resumed with the same values; fields with a default came later than the first runs.

    ``timesteps``: see :func:`draw_timesteps`. ``min_snr_gamma``, ``multiscale``: see
    :func:`~guided_diffusion.losses.training_losses`. ``grey`` and ``low_light``: the share of crops that lose
    their colour, or most of their light; ``shrunk``: that is scaled down, see
    :func:`~tools.training.photos.draw_crop`; ``tones``: that gets a tone curve as of a thermal camera, see
    :func:`~tools.training.photos.retone`. ``small_crop``: see :meth:`at`. ``optimizer``: see
    :func:`~tools.training.optimizers.make_optimizers`. Raises ValueError for values with which
    nothing can be trained.
    """

    steps: int
    batch_size: int
    crop: int
    lr: float
    warmup: int
    weight_decay: float
    ema: float
    seed: int
    model: ModelConfig
    diffusion: DiffusionConfig
    timesteps: str = "uniform"
    min_snr_gamma: float | None = None
    grey: float = 0.0
    low_light: float = 0.0
    multiscale: float = 0.0
    small_crop: int = 0
    shrunk: float = 0.5
    tones: float = 0.0
    level_mean: float = -1.2
    level_std: float = 1.2
    optimizer: str = "adamw"

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size, self.crop) < 1:
            raise ValueError("steps, batch_size and crop must be at least 1")
        shares = (self.grey, self.low_light, self.shrunk, self.tones)
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError("grey, low_light, shrunk and tones are shares of the crops, from 0 to 1")
        if not (math.isfinite(self.level_mean) and 0 < self.level_std < math.inf):
            raise ValueError("level_mean must be finite, and level_std finite and more than 0")
        check_optimizer(self.optimizer)
        if self.min_snr_gamma is not None and not self.min_snr_gamma > 0:
            raise ValueError(f"min_snr_gamma is {self.min_snr_gamma}, but must be more than 0")
        if not 0 <= self.multiscale < math.inf:
            raise ValueError(f"multiscale is {self.multiscale}, but must be 0 or more, and finite")
        if not 0 <= self.small_crop <= self.crop:
            raise ValueError(
                f"small_crop is {self.small_crop}, but must be from 0 (none) to crop ({self.crop})"
            )

    def at(self, step: int) -> Recipe:
        """The recipe of one step: every third one takes crops of ``small_crop`` instead, at uniform timesteps.

        They are as many as have about the pixels of the others. The fewer pixels an image has, the more of its
        noise is in their mean, and the sooner a network learns to tell the two apart.
        """
        if not self.small_crop or step % 3 != 2:
            return self
        times = (self.crop // self.small_crop) ** 2
        return dataclasses.replace(
            self, crop=self.small_crop, batch_size=times * self.batch_size, timesteps="uniform", small_crop=0
        )

    def images(self, steps: int) -> int:
        """How many crops the first so many steps take."""
        small = steps // 3 if self.small_crop else 0
        return (steps - small) * self.batch_size + small * self.at(2).batch_size

    def to_json(self) -> str:
        """All values, for the saved state."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def matches(self, text: str) -> bool:
        """Whether ``text`` is the JSON of an equal recipe; values that it does not know yet count as the defaults."""
        try:
            values = json.loads(text)
            model, diffusion = ModelConfig(**values.pop("model")), DiffusionConfig(**values.pop("diffusion"))
            return Recipe(**values, model=model, diffusion=diffusion) == self
        except (KeyError, TypeError, ValueError):
            return False


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * 0.5 * (1.0 + math.cos(math.pi * progress))


def draw_timesteps(rng: np.random.Generator, recipe: Recipe, alphas_cumprod: np.ndarray) -> np.ndarray:
    """Timesteps (B,) int64 to train on: uniform, or where images are made rather than mere noise.

    ``edm``: ln sigma ~ N(level_mean, level_std^2) for sigma the noise at unit signal, images in [-1, 1] (Karras et
    al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, table 1: -1.2 and 1.2); every
    fourth one stays uniform, because that density all but leaves out the noisiest half of a linear schedule.
    """
    uniform = rng.integers(0, len(alphas_cumprod), recipe.batch_size)
    if recipe.timesteps == "uniform":
        return uniform
    log_sigmas = 0.5 * np.log((1.0 - alphas_cumprod) / alphas_cumprod)
    drawn = np.searchsorted(log_sigmas, rng.normal(recipe.level_mean, recipe.level_std, recipe.batch_size))
    keep_uniform = np.arange(recipe.batch_size) % 4 == 0
    return np.where(keep_uniform, uniform, drawn.clip(max=len(alphas_cumprod) - 1))


@dataclass(frozen=True)
class Treatment:
    """What is done to one crop after cutting, in this order.

    ``light``: (gain, gamma) if it is darkened; ``tone``: (slope, middle) of its curve if it gets one;
    ``channels`` 1: it becomes grey for good, ``grey``: grey in three channels.
    """

    grey: bool
    light: tuple[float, float] | None
    tone: tuple[float, float] | None = None
    channels: int = 3

    def apply(self, crop: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> (H, W, channels) uint8."""
        if self.channels == 1:
            crop = grey_from_rgb(crop)[:, :, None]
        elif self.grey:
            crop = np.repeat(grey_from_rgb(crop)[:, :, None], 3, axis=2)
        if self.light is not None:
            crop = darken(crop, *self.light)
        return crop if self.tone is None else retone(crop, *self.tone)


def draw_treatments(rng: np.random.Generator, recipe: Recipe) -> list[Treatment]:
    """One for each image of a batch; draws nothing where the recipe asks for nothing."""
    count = recipe.batch_size
    grey = rng.random(count) < recipe.grey if recipe.grey else np.zeros(count, bool)
    lights = _draw_pairs(rng, recipe.low_light, count, _draw_lights)
    tones = _draw_pairs(rng, recipe.tones, count, _draw_tones)
    channels = recipe.model.in_channels
    return [
        Treatment(bool(g), light, tone, channels) for g, light, tone in zip(grey, lights, tones, strict=True)
    ]


Pair = tuple[float, float]


def _draw_pairs(
    rng: np.random.Generator,
    share: float,
    count: int,
    draw: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]],
) -> list[Pair | None]:
    """``count`` pairs of numbers, for a share of the images; None for the others."""
    if not share:
        return [None] * count
    chosen = rng.random(count) < share
    pairs = zip(*draw(rng, count), strict=True)
    return [(float(one), float(two)) if c else None for c, (one, two) in zip(chosen, pairs, strict=True)]


def _draw_lights(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.exp(rng.uniform(np.log(0.15), np.log(0.8), count)), rng.uniform(1.0, 2.0, count)


def _draw_tones(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes from a quarter of the contrast to twice as much, half of them falling, and middles."""
    slopes = np.exp(rng.uniform(np.log(0.25), np.log(2.0), count))
    return np.where(rng.random(count) < 0.5, -slopes, slopes), rng.uniform(64.0, 192.0, count)


def make_batch(
    photos: Sequence[np.ndarray],
    recipe: Recipe,
    step: int,
    alphas_cumprod: np.ndarray,
    share: slice = slice(None),
) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, C, crop, crop), timesteps (B,) and noise of one step; a function of seed and step alone.

    ``share`` gives only that part of the batch, as if it were cut from the whole. The published weights were
    made from this order of random numbers: what is new is drawn after the rest, and only when asked for.
    """
    rng = np.random.default_rng([recipe.seed, step])
    chosen: list[np.ndarray] = [photos[index] for index in rng.integers(0, len(photos), recipe.batch_size)]
    crops: list[Crop] = [draw_crop(photo.shape[:2], recipe.crop, rng, recipe.shrunk) for photo in chosen]
    t = torch.from_numpy(draw_timesteps(rng, recipe, alphas_cumprod))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    treatments = draw_treatments(rng, recipe)
    mine = zip(chosen[share], crops[share], treatments[share], strict=True)
    x = to_batch([treatment.apply(crop.cut(photo, recipe.crop)) for photo, crop, treatment in mine])
    noise = torch.randn((recipe.batch_size, *x.shape[1:]), generator=generator)
    return x, t[share], noise[share]
