"""A prior on grey images: denoising in one step, by one channel or three; thermal frames with their own noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from guided_diffusion.denoising.source_noise import GREY, estimate_sigma
from guided_diffusion.denoising.sources import denoise_grey, find_noise
from guided_diffusion.prior import Prior
from tools.prior_card.denoising import psnr
from util.images.image_io import SUFFIXES, grey_from_rgb, read_image
from util.images.levels import round_to_uint8

FRAMES = 4
"""Of every sequence, evenly spaced: the camera hardly moves from one to the next."""


def as_grey(photo: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> its luma, (H, W, 1) uint8."""
    return grey_from_rgb(photo)[:, :, None]


@dataclass
class GreyDenoiser:
    """One call of a prior on grey images. ``seed``: of the noise that a prior of three channels needs."""

    prior: Prior
    device: torch.device
    seed: int = 0

    def __call__(self, noisy: np.ndarray, sigma: float) -> np.ndarray:
        """(H, W, 1) of range 255 with white noise ``sigma`` -> the estimate, float64 of the same shape and range."""
        image = _luma(noisy).to(self.device)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            clean = denoise_grey(self.prior, image, sigma, generator)
        return _levels(clean)


def noise_level(image: np.ndarray) -> float:
    """Standard deviation of the white noise in (H, W, 1) of range 255; 0 for what counts as clean, below 5."""
    return float(estimate_sigma(_luma(image)))


def without_stripes(image: np.ndarray) -> tuple[np.ndarray, float]:
    """(H, W, 1) of range 255 without offsets of columns and rows, and the noise left, by :func:`find_noise`."""
    (level,), ((sigma,),) = find_noise([_luma(image)], "auto")
    return _levels(level), sigma


def _luma(image: np.ndarray) -> Tensor:
    """(H, W, 1) of range 255 -> (1, 1, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(image / GREY - 1.0).float().permute(2, 0, 1)[None]


def _levels(luma: Tensor) -> np.ndarray:
    """The way back, float64."""
    return (luma[0].permute(1, 2, 0).double().cpu().numpy() + 1.0) * GREY


def matched_psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """PSNR in dB of ``image`` after the slope and offset of its levels that fit ``reference`` best.

    For pictures of one scene whose cameras, or their tone curves, differ.
    """
    slope, offset = np.polyfit(image.ravel(), reference.astype(np.float64).ravel(), 1)
    return psnr(slope * image + offset, reference)


def thermal_frames(folder: Path, multiple: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name of the sequence, noisy frame and clean one, (H, W, 1) uint8, of every ``*/ir_noisy`` beside an ``*/ir``.

    :data:`FRAMES` of every sequence, cut to multiples of ``multiple`` at the right and the bottom. Raises ValueError
    when there are none, or a frame has no partner of its name and size; ImageError for unreadable ones.
    """
    found = []
    for noisy_folder in sorted(folder.glob("*/ir_noisy")):
        paths = sorted(path for path in noisy_folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for index in np.unique(np.linspace(0, len(paths) - 1, FRAMES).round().astype(int)) if paths else ():
            path = paths[index]
            partner = noisy_folder.parent / "ir" / path.name
            if not partner.exists():
                raise ValueError(f"{path} has no clean partner {partner}")
            noisy, clean = read_image(path).luma, read_image(partner).luma
            if noisy.shape != clean.shape:
                raise ValueError(f"{path} and {partner} are of different sizes")
            height, width = (side - side % multiple for side in noisy.shape)
            pair = (image[:height, :width, None] for image in (noisy, clean))
            found.append((noisy_folder.parent.name, *pair))
    if not found:
        raise ValueError(
            f"{folder} holds no frames in */ir_noisy beside */ir: give the folder of the sequences"
        )
    return found


def denoise_thermal(
    denoisers: dict[str, GreyDenoiser], frames: Sequence[tuple[str, np.ndarray, np.ndarray]]
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """For every sequence, by name of the denoiser, mean :func:`matched_psnr` to the clean frames and noise left.

    As a fusion does, each frame is rid of its stripes first and then denoised at its own :func:`noise_level`, one
    that counts as clean not at all. Also a picture of the first frame of every sequence: noisy, without stripes,
    what each denoiser makes of it, clean, side by side, (H, W') uint8.
    """
    rows: dict[str, dict[str, Any]] = {}
    pictures: dict[str, np.ndarray] = {}
    for name, noisy, clean in tqdm(frames, desc="thermal frames", unit="frame"):
        even, sigma = without_stripes(noisy)
        images = {"noisy": noisy.astype(np.float64), "even": even}
        images |= {key: denoise(even, sigma) if sigma else even for key, denoise in denoisers.items()}
        row = rows.setdefault(name, {"sequence": name, "sigma": [], "psnr": {}, "left": {}})
        row["sigma"].append(sigma)
        for key, image in images.items():
            row["psnr"].setdefault(key, []).append(matched_psnr(image, clean))
            row["left"].setdefault(key, []).append(noise_level(image))
        strip = np.concatenate([*images.values(), clean], axis=1)[:, :, 0]
        pictures.setdefault(name, round_to_uint8(strip.clip(0, 255)))
    for row in rows.values():
        row["frames"], row["sigma"] = len(row["sigma"]), float(np.mean(row["sigma"]))
        for part in ("psnr", "left"):
            row[part] = {key: float(np.mean(values)) for key, values in row[part].items()}
    return list(rows.values()), pictures
