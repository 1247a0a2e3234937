"""The speed of fusing a pair without a sampler: ``local_fast`` and ``local``, and how often noise asks a prior."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.denoising.sources import clean_sources
from guided_diffusion.fusion import fuse
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Prediction
from guided_diffusion.local.em import Local, LocalFast
from guided_diffusion.neumann import blur
from util.markdown import markdown_rows

HEIGHT, WIDTH = 480, 640
NOISE = 20 / 127.5


class Counting:
    """A prior that blurs, and counts how often it is asked: evaluations cost the same whatever they say."""

    def __init__(self) -> None:
        self.diffusion = GaussianDiffusion.from_config(DiffusionConfig())
        self.channels, self.asked = 1, 0

    def predict(self, x_t: Tensor, index: int) -> Prediction:
        """One evaluation."""
        self.asked += 1
        estimate = blur(x_t, 1.0) / float(self.diffusion.alphas_cumprod[index]) ** 0.5
        return Prediction(estimate, torch.zeros_like(x_t[:, :1, :1, :1]))


def pair(height: int, width: int, device: torch.device, noise: float = 0.0) -> list[Tensor]:
    """Two soft scenes with texture, (1, 1, H, W) luma in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    draws = (torch.randn((1, 1, height, width), generator=generator) for _ in range(4))
    scenes = [4 * blur(draw, 6.0) for draw in (next(draws), next(draws))]
    return [(scene + noise * next(draws)).clamp(-1, 1).to(device) for scene in scenes]


def seconds(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """The median over ``rounds``, after one that is not counted."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def table(device: torch.device, rounds: int, height: int = HEIGHT, width: int = WIDTH) -> str:
    """Markdown: seconds a pair, from lumas to the fused luma, and evaluations for clean and for noisy sources."""
    diffusion = GaussianDiffusion.from_config(DiffusionConfig())
    clean = pair(height, width, device)
    counts = []
    for noise in (0.0, NOISE):
        prior = Counting()
        clean_sources(pair(height, width, device, noise), "auto", prior, 0)
        counts.append(str(prior.asked))
    rows: list[Sequence[str]] = [("rectification", "s/pair", "evaluations, clean", "evaluations, noisy")]
    for name, rectification in (("local_fast", LocalFast(task="ivf")), ("local", Local(task="ivf"))):
        each = seconds(
            lambda rectification=rectification: fuse(
                None, clean, diffusion=diffusion, rectification=rectification
            ),
            device,
            rounds,
        )
        rows.append((f"`{name}`", f"{each:.3g}", *counts))
    return markdown_rows(*rows)
