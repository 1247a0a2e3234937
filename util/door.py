"""Fusing images that are in memory: what ``ddfm.fuse`` is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from guided_diffusion import fusion
from guided_diffusion.color_weights import color_weights
from guided_diffusion.config import DiffusionConfig
from guided_diffusion.denoising.chroma_noise import clean_all_colours
from guided_diffusion.denoising.sources import Noise, clean_sources, find_noise
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.prior import Prior, check_prior
from guided_diffusion.rectification import Rectification, as_rectification, describe, is_stretched
from guided_diffusion.samplers import Sampler, Step, as_sampler, with_eta
from guided_diffusion.samples import Spread, add_samples, check_samples
from guided_diffusion.ycbcr import luma_tensor
from util.images.arrays import ArrayImage, as_image, give_back
from util.images.colour import ColourMethod, colour_source, colourise
from util.images.levels import level_size, round_to_uint8, written_levels
from util.images.pairs import MULTIPLE, fit, fitted_size
from util.images.png import write_png
from util.images.registration.applying import all_onto_last
from util.images.registration.search import Register, check_register
from util.images.uncertainty import beside, write_uncertainty
from util.version import versions


@dataclass(frozen=True, eq=False)
class Fused:
    """A fused image, of the size of the sources and in the kind of the first (array, tensor or PIL image; type).

    ``grey``: (H, W). ``color``: (H, W, 3), as a tensor (3, H, W), in the colours of the last source that has some,
    or of all (stacks of focus or exposure); None where all are grey. ``luma``: (H, W) float32, about [-1, 1], not
    stretched. ``provenance``: what made it. ``deviation``: of several samples at each pixel, (H, W) float32 in grey
    levels of 0 ... 255; None when there is one sample alone.
    """

    grey: Any
    color: Any | None
    luma: np.ndarray
    provenance: dict[str, Any]
    _levels: np.ndarray
    _rgb: np.ndarray | None
    deviation: np.ndarray | None = None

    def save(self, path: Path | str) -> Path:
        """Write an 8-bit PNG, in colour where there is some, whole or not at all, with the provenance as text.

        The deviation of several samples goes to NAME_uncertainty.png beside it, as a picture with its scale. Raises
        ValueError for a name that does not end in .png, OSError when it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ValueError(f"{path}: results are PNG files, give a name that ends in .png")
        text = {
            "Software": f"DDFM {self.provenance['versions']['ddfm']}",
            "ddfm": json.dumps(self.provenance),
        }
        if self.deviation is not None:
            write_uncertainty(beside(path), self.deviation, text)
        write_png(path, round_to_uint8(self._levels) if self._rgb is None else self._rgb, text)
        return path


def fuse(
    prior: Prior | None,
    images: Sequence[Any],
    *,
    rectification: Rectification[Any] | str = "released",
    sampler: Sampler | str | None = "ddim",
    seed: int = 3407,
    eta: float = 0.0,
    warm_start: int | None = None,
    noise: Noise = "off",
    samples: int = 1,
    register: Register = "off",
    iterations: int = 100,
    color_method: ColourMethod = "oklab",
    on_step: Callable[[Step], None] | None = None,
) -> Fused:
    """Fuse images of one scene: infrared (CT, PET, SPECT) first and visible (MRI) second, or 2 to 8 in local fusion.

    ``images``: see :func:`~util.images.arrays.as_image`, of one size, any from 32 pixels a side on. ``prior``: of
    :func:`~util.prior.open_prior` or any other; None: the rectification alone, ``iterations`` times unless it has a
    number of its own. ``rectification``, ``sampler``: names in RECTIFICATIONS and SAMPLERS, or objects. ``seed``,
    ``warm_start``: as :func:`~guided_diffusion.fusion.fusion_steps` takes them; ``eta``: of a sampler that has one.
    ``sampler`` None: the prior is asked about ``noise`` alone, which is ``off``, ``auto`` (estimated) or a standard
    deviation in grey levels for each source. ``samples``: more than one are drawn, see
    :mod:`guided_diffusion.samples`; the result is their mean, with their ``deviation``. Levels are stretched to the
    whole range as the released code does, or written as they are where the rectification says so (``local``,
    ``local_fast``). An 8-bit pair gives what ``sample.py`` gives with ``fit: pad``.

    ``register``: bring all but the last onto the grid of the last, whose size they then need not have: see
    :func:`~util.images.registration.search.register`.

    Raises ValueError for what does not fit or is not known, FloatingPointError when the result is not finite.
    """
    chosen = as_rectification(rectification)
    if prior is not None:
        check_prior(prior)
    sampler = None if sampler is None else as_sampler(sampler)
    steps = with_eta(fusion.ddim_loop if sampler is None else sampler, eta)
    if isinstance(iterations, bool) or not isinstance(iterations, Integral) or iterations < 1:
        raise ValueError(f"iterations is {iterations!r:.80}, but must be a whole number from 1 on")
    # the configuration of a run has the same settings, and checks them
    said: Any = noise if isinstance(noise, str) or not isinstance(noise, Iterable) else [*noise]
    FusionConfig(
        seed=seed,
        eta=eta,
        warm_start=warm_start,
        noise=said,
        samples=samples,
        register=register,
        color_method=color_method,
    )
    check_register(register)
    check_samples(samples, prior is not None, sampler, eta)
    sources, registrations = _sources(images, register)
    size = _common_size(sources)
    device = getattr(prior, "device", "cpu")
    lumas = [luma_tensor(fit(source.luma, "pad")[None], device) for source in sources]
    alone = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=iterations))
    sampled = None if sampler is None else prior
    options: dict[str, Any] = {
        "diffusion": alone,
        "rectification": chosen,
        "sampler": steps,
        "warm_start": warm_start,
        "cores": [fitted_size(size, "crop")],
    }
    spread = Spread()
    if samples > 1:
        lumas, sigmas = find_noise(lumas, noise)
        told = None if on_step is None else lambda step, sample: on_step(step)
        priors = {"noise_prior": prior, "prior": sampled}
        add_samples(spread, samples, lumas, sigmas, **priors, seed=seed, on_step=told, **options)
    else:
        lumas, sigmas = clean_sources(lumas, noise, prior, seed)
        spread.add(fusion.fuse(sampled, lumas, seed=seed, on_step=on_step, **options))
    provenance = {
        **_describe_prior(prior),
        "rectification": describe(chosen),
        "sampler": None if sampled is None else getattr(sampler, "__name__", type(sampler).__qualname__),
        "steps": fusion.iteration_count(alone, chosen)
        if sampled is None
        else fusion.step_count(sampled.diffusion, warm_start),
        "seed": seed,
        "eta": eta,
        "warm_start": warm_start,
        "noise": [found[0] for found in sigmas],
        **({"samples": samples} if samples > 1 else {}),
        **({"registration": registrations} if registrations else {}),
        "versions": versions(),
    }
    (weights,) = color_weights(chosen, lumas)
    shares = None if weights is None else weights[:, : size[0], : size[1]].cpu().numpy()
    deviation = spread.deviation if samples > 1 else None
    return _finish(
        spread.mean, deviation, is_stretched(chosen), sources, noise, shares, color_method, provenance
    )


def _sources(images: Sequence[Any], register: Register) -> tuple[list[ArrayImage], list[dict[str, Any]]]:
    """The images read, brought onto the last where that is asked for, and what was found for it."""
    if isinstance(images, str | Path | np.ndarray) or not isinstance(images, Sequence):
        raise ValueError(
            f"images is a {type(images).__name__}: give a list of at least two images, or of their paths"
        )
    sources = [as_image(image, f"image {number}") for number, image in enumerate(images)]
    if register == "off" or len(sources) < 2:
        return sources, []
    return all_onto_last(sources, register, [f"image {number}" for number in range(len(sources))])


def _describe_prior(prior: Prior | None) -> dict[str, Any]:
    own = getattr(prior, "describe", None)
    return {"prior": None if prior is None else type(prior).__qualname__} if own is None else own()


def _finish(
    mean: Tensor,
    deviation: Tensor | None,
    stretched: bool,
    sources: Sequence[ArrayImage],
    noise: Noise,
    shares: np.ndarray | None,
    color_method: ColourMethod,
    provenance: dict[str, Any],
) -> Fused:
    """The fused luma, (1, 1, H, W) and padded as it is, as levels and colours in the kind of the first source.

    ``deviation``: that of its samples, of the same shape. ``shares``: (N, H, W), of each source in the colours;
    None: those of the last that has some.
    """
    height, width = sources[0].size
    luma = mean[0, 0, :height, :width].cpu().numpy()
    levels = written_levels(luma, stretched)
    off = None
    if deviation is not None:
        off = deviation[0, 0, :height, :width].cpu().numpy() * level_size(luma, stretched)
    grey8 = round_to_uint8(levels)
    rgbs = clean_all_colours([source.rgb for source in sources], noise, grey8)
    colours = colour_source(rgbs, weights=shares)
    rgb = None if colours is None else colourise(grey8, colours, color_method)
    grey = give_back(levels, sources[0])
    color = None if rgb is None else give_back(rgb.astype(np.float64), sources[0])
    return Fused(grey, color, luma, provenance, levels, rgb, off)


def _common_size(sources: Sequence[ArrayImage]) -> tuple[int, int]:
    sizes = {source.size for source in sources}
    if len(sizes) != 1:
        found = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise ValueError(
            f"the images must be of one size, but are {found or 'none'}; register them to one size first, or "
            "let register='auto' do it"
        )
    size = sizes.pop()
    if min(size) < MULTIPLE:
        raise ValueError(
            f"the images are {size[1]}x{size[0]}, but fusing needs at least {MULTIPLE} pixels a side"
        )
    return size
