"""Train an unconditional diffusion prior on photographs: any UNet that a model configuration describes.

    python -m tools.train_prior --data photos.tar more_photos/ --val held_out.tar --steps 5200 --out models/compact.pt

Everything random at a step follows from the seed and the step's number, so a run that was stopped and
started again with the same command sees the same images in the same order under the same schedule.
On a CPU the tool raises glibc's mmap and trim thresholds by itself, which saves up to a third of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from guided_diffusion.config import DiffusionConfig, ModelConfig, from_mapping
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.losses import training_losses
from guided_diffusion.nn import channels_last, update_ema
from guided_diffusion.script_util import model_from_config
from tools.photos import center_crop, load_photos, random_crop, to_batch
from util.allocator import keep_freed_memory
from util.checkpoint import read_state_dict
from util.config_io import read_yaml
from util.device import choose_device, device_label

VAL_SIGMAS = (10, 25, 50, 100)  # of 255, as denoising papers count


@dataclass(frozen=True)
class Recipe:
    """What decides the trained weights; a run may only be resumed with the same values."""

    steps: int
    batch_size: int
    crop: int
    lr: float
    warmup: int
    weight_decay: float
    ema: float
    timesteps: str
    seed: int
    model: ModelConfig
    diffusion: DiffusionConfig


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    if step < recipe.warmup:
        return recipe.lr * (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.lr * 0.5 * (1.0 + math.cos(math.pi * progress))


def draw_timesteps(rng: np.random.Generator, recipe: Recipe, alphas_cumprod: np.ndarray) -> np.ndarray:
    """Timesteps (B,) int64 to train on: uniform, or where images are made rather than mere noise.

    ``edm``: ln sigma ~ N(-1.2, 1.2^2) for sigma the noise at unit signal, images in [-1, 1] (Karras et al.,
    "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, table 1); every fourth one stays
    uniform, because that density all but leaves out the noisiest half of a linear schedule.
    """
    uniform = rng.integers(0, len(alphas_cumprod), recipe.batch_size)
    if recipe.timesteps == "uniform":
        return uniform
    log_sigmas = 0.5 * np.log((1.0 - alphas_cumprod) / alphas_cumprod)
    drawn = np.searchsorted(log_sigmas, rng.normal(-1.2, 1.2, recipe.batch_size))
    keep_uniform = np.arange(recipe.batch_size) % 4 == 0
    return np.where(keep_uniform, uniform, drawn.clip(max=len(alphas_cumprod) - 1))


def make_batch(
    photos: list[np.ndarray], recipe: Recipe, step: int, alphas_cumprod: np.ndarray
) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, 3, crop, crop), timesteps (B,) and noise of one step; a function of seed and step alone."""
    rng = np.random.default_rng([recipe.seed, step])
    chosen = rng.integers(0, len(photos), recipe.batch_size)
    x = to_batch([random_crop(photos[index], recipe.crop, rng) for index in chosen])
    t = torch.from_numpy(draw_timesteps(rng, recipe, alphas_cumprod))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return x, t, torch.randn(x.shape, generator=generator)


def sigma_timestep(diffusion: GaussianDiffusion, sigma: float) -> int:
    """The timestep whose noise, after scaling the state to unit signal, is nearest to sigma of 255."""
    ratio = np.sqrt((1.0 - diffusion.alphas_cumprod) / diffusion.alphas_cumprod)
    return int(np.abs(ratio - 2.0 * sigma / 255.0).argmin())


@torch.no_grad()
def validate(model: nn.Module, diffusion: GaussianDiffusion, images: Tensor) -> dict[str, float]:
    """Mean validation loss over eight timesteps, and the PSNR of one-step x_0 prediction at four noise levels.

    ``images``: (B, 3, H, W) in [-1, 1]; the noise is the same at every call.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    count = len(images)

    def mse(t: int) -> float:
        steps = torch.full((count,), t, dtype=torch.int64, device=images.device)
        return float(training_losses(model, diffusion, images, steps, noise)["mse"].mean())

    grid = [int(t) for t in np.linspace(0, diffusion.num_timesteps - 1, 10)[1:-1]]
    scores = {"val_loss": float(np.mean([mse(t) for t in grid]))}
    for sigma in VAL_SIGMAS:
        t = sigma_timestep(diffusion, sigma)
        alpha = float(diffusion.alphas_cumprod[t])
        error = mse(t) * (1.0 - alpha) / alpha  # of x_0, whose range is 2
        scores[f"psnr_{sigma}"] = 10.0 * math.log10(4.0 / error)
    return scores


class Trainer:
    """Model, its moving average and the optimiser, with atomic saving and resuming."""

    def __init__(self, recipe: Recipe, run_dir: Path, device: torch.device, init: Path | None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.run_dir, self.device = recipe, run_dir, device
        self.model = channels_last(model_from_config(recipe.model).to(device))
        if init is not None:
            self.model.load_state_dict(read_state_dict(init))
        self.ema = channels_last(model_from_config(recipe.model).to(device)).eval()
        self.ema.load_state_dict(self.model.state_dict())
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )
        self.step = 0

    def update(self, loss: Tensor) -> None:
        """One optimiser step on ``loss`` and one of the moving average."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.recipe)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        # a short average first, so that the random start is soon forgotten
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        update_ema(self.ema.parameters(), self.model.parameters(), decay)

    def save(self) -> None:
        state = {
            "recipe": _recipe_json(self.recipe),
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        _save(state, self.run_dir / "state.pt")
        self.export(self.run_dir / "ema.pt")

    def resume(self) -> bool:
        """Go on from the run folder if it holds a state; raises ValueError if that is of another recipe."""
        path = self.run_dir / "state.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["recipe"] != _recipe_json(self.recipe):
            raise ValueError(f"{path} belongs to another recipe: give another --run_dir or remove it")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        return True

    def export(self, path: Path) -> None:
        """The moving average in half precision: the file that ``model_path`` names."""
        half = {key: value.half().contiguous().cpu() for key, value in self.ema.state_dict().items()}
        _save(half, path)


def _recipe_json(recipe: Recipe) -> str:
    return json.dumps(dataclasses.asdict(recipe), sort_keys=True)


def _save(state: dict[str, Any], path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying of them, so that the step can end and be saved."""
    caught: list[int] = []
    old = {
        number: signal.signal(number, lambda number, _frame: caught.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield caught
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def train(trainer: Trainer, photos: list[np.ndarray], val: Tensor, args: argparse.Namespace) -> bool:
    """Run to the recipe's last step; returns False when a signal stopped it earlier, with its state saved."""
    recipe, device = trainer.recipe, trainer.device
    diffusion = GaussianDiffusion.from_config(recipe.diffusion)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16")
    log = trainer.run_dir / "log.jsonl"
    recent: list[float] = []
    started = time.monotonic()
    bar = tqdm(total=recipe.steps, initial=trainer.step, desc="training", unit="step", smoothing=0.02)
    with bar, _stop_signals() as stop:
        while trainer.step < recipe.steps and not stop:
            x, t, noise = (
                part.to(device) for part in make_batch(photos, recipe, trainer.step, diffusion.alphas_cumprod)
            )
            with autocast:
                losses = training_losses(trainer.model, diffusion, x, t, noise)
            trainer.update(losses["loss"].mean())
            recent.append(float(losses["mse"].detach().mean()))
            bar.update()
            bar.set_postfix(loss=f"{np.mean(recent[-100:]):.4f}", refresh=False)
            if trainer.step % args.val_every == 0 or trainer.step == recipe.steps:
                scores = {
                    "step": trainer.step,
                    "loss": float(np.mean(recent)),
                    **validate(trainer.ema, diffusion, val),
                }
                scores["seconds"] = time.monotonic() - started
                recent.clear()
                tqdm.write(json.dumps({key: round(value, 4) for key, value in scores.items()}))
                with log.open("a") as stream:
                    stream.write(json.dumps(scores) + "\n")
            if trainer.step % args.save_every == 0:
                trainer.save()
    trainer.save()
    return trainer.step == recipe.steps


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, nargs="+", required=True, help="folders or tar archives of photographs")
    add("--val", type=Path, nargs="+", required=True, help="held-out photographs, for validation only")
    add(
        "--model_config",
        default="configs/model_config_compact.yaml",
        help="architecture (default %(default)s)",
    )
    add("--diffusion_config", default="configs/diffusion_config.yaml", help="schedule (default %(default)s)")
    add("--out", type=Path, required=True, help="where the finished weights go (float16, moving average)")
    add("--run_dir", type=Path, default=Path("runs/prior"), help="state, log (default %(default)s)")
    add("--init", type=Path, help="start from these weights instead of fresh ones")
    add("--steps", type=int, default=5200, help="optimiser steps (default %(default)s)")
    add("--batch_size", type=int, default=16, help="crops a step (default %(default)s)")
    add("--crop", type=int, default=64, help="side of the crops in pixels (default %(default)s)")
    add("--lr", type=float, default=8e-4, help="peak learning rate (default %(default)s)")
    add("--warmup", type=int, default=200, help="steps of linear warm-up (default %(default)s)")
    add("--weight_decay", type=float, default=0.0, help="of AdamW (default %(default)s)")
    add("--ema", type=float, default=0.999, help="decay of the moving average (default %(default)s)")
    add(
        "--timesteps",
        choices=["uniform", "edm"],
        default="uniform",
        help="uniform, or three of four from EDM's density of noise levels (default %(default)s)",
    )
    add("--seed", type=int, default=0, help="decides weights, crops, timesteps, noise (default %(default)s)")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast (default %(default)s)")
    add(
        "--device",
        default="auto",
        help="auto, cpu, cuda or cuda:N (default: auto, CUDA where there is one)",
    )
    add("--val_every", type=int, default=400, help="steps between validations (default %(default)s)")
    add("--save_every", type=int, default=200, help="steps between saved states (default %(default)s)")
    add("--val_images", type=int, default=16, help="photographs to validate on (default %(default)s)")
    add("--limit", type=int, help="use only this many photographs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    keep_freed_memory()
    try:
        model = from_mapping(ModelConfig, read_yaml(args.model_config), args.model_config)
        published = from_mapping(DiffusionConfig, read_yaml(args.diffusion_config), args.diffusion_config)
        diffusion = dataclasses.replace(published, timestep_respacing="")  # trained on every timestep
        names = [f.name for f in dataclasses.fields(Recipe) if f.name not in ("model", "diffusion")]
        recipe = Recipe(**{name: getattr(args, name) for name in names}, model=model, diffusion=diffusion)
        args.run_dir.mkdir(parents=True, exist_ok=True)
        device = choose_device(args.device, None)
        trainer = Trainer(recipe, args.run_dir, device, args.init)
        resumed = trainer.resume()
        photos = load_photos(args.data, min_side=recipe.crop, limit=args.limit)
        held_out = load_photos(args.val, min_side=128, limit=args.val_images)
    except ValueError as error:
        sys.exit(f"train_prior: {error}")
    val = to_batch([center_crop(photo, 128) for photo in held_out]).to(device)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    print(
        f"{parameters:,} parameters, {len(photos)} photographs, {device_label(device)} {args.precision}, "
        f"{os.cpu_count()} cores; {'resumed at' if resumed else 'starting at'} step {trainer.step}"
    )
    if not train(trainer, photos, val, args):
        print(f"stopped at step {trainer.step}; run the same command again to go on")
        return 1
    args.out.parent.mkdir(parents=True, exist_ok=True)
    trainer.export(args.out)
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
