"""The training loop of a prior: optimiser and moving average, saved and resumed, validated as it goes."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model
from guided_diffusion.losses import training_losses
from guided_diffusion.nn import channels_last, update_ema
from guided_diffusion.script_util import model_from_config
from tools.training.deepen import deepened_weights
from tools.training.grey import grey_weights
from tools.training.optimizers import make_optimizers
from tools.training.recipe import Recipe, learning_rate, make_batch
from tools.training.team import Team
from tools.training.validation import validate
from util.checkpoint.loading import read_state_dict
from util.files import write_atomically
from util.process import noted_signals

T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """What does not change the recipe: when to save and to validate, and how fast it goes.

    ``bf16``: autocast; ``compiled``: torch.compile; ``workers``: threads that prepare batches ahead.
    """

    val_every: int
    save_every: int
    bf16: bool = False
    compiled: bool = False
    workers: int = 0


class Trainer:
    """Model, its moving average and the optimisers, with atomic saving and resuming."""

    def __init__(self, recipe: Recipe, run_dir: Path, device: torch.device, init: Path | None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.run_dir, self.device = recipe, run_dir, device
        self.model = channels_last(model_from_config(recipe.model).to(device))
        if init is not None:
            state = read_state_dict(init)
            try:
                if recipe.model.in_channels == 1:
                    state = grey_weights(state)
                self.model.load_state_dict(deepened_weights(state, self.model.state_dict()))
            except (RuntimeError, ValueError) as error:
                raise ValueError(f"--init {init} holds another network: {error}") from error
        self.ema = channels_last(model_from_config(recipe.model).to(device)).eval()
        self.ema.load_state_dict(self.model.state_dict())
        self.optimizers = make_optimizers(self.model, recipe.optimizer, recipe.lr, recipe.weight_decay)
        self.step = 0

    def network(self, team: Team, compiled: bool) -> Model:
        """What to call for training: the model, compiled and shared among the processes if asked for."""
        network: Any = torch.compile(self.model) if compiled else self.model
        if team.size == 1:
            return network
        ids = [torch.cuda.current_device()] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)

    def update(self, loss: Tensor) -> None:
        """One step of the optimisers on ``loss`` and one of the moving average."""
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.step, self.recipe)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        # a short average first, so that the random start is soon forgotten
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        update_ema(self.ema.parameters(), self.model.parameters(), decay)

    def save(self) -> None:
        state = {
            "recipe": self.recipe.to_json(),
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        _save(state, self.run_dir / "state.pt")
        self.export(self.run_dir / "ema.pt")

    def resume(self) -> bool:
        """Go on from the run folder if it holds a state; raises ValueError if that is of another recipe."""
        path = self.run_dir / "state.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        if not self.recipe.matches(state["recipe"]):
            raise ValueError(f"{path} belongs to another recipe: give another --run_dir or remove it")
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        states = state["optimizers"] if "optimizers" in state else [state["optimizer"]]  # one, in older runs
        for optimizer, saved in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(saved)
        self.step = state["step"]
        return True

    def export(self, path: Path) -> None:
        """The moving average in half precision: the file that ``model_path`` names."""
        half = {key: value.half().contiguous().cpu() for key, value in self.ema.state_dict().items()}
        content = (
            io.BytesIO()
        )  # torch.save writes the name of a file into it: the same weights are to be the same bytes
        torch.save(half, content)
        write_atomically(path, content.getvalue())


def _save(state: dict[str, Any], path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def prepared(make: Callable[[int], T], steps: range, workers: int) -> Generator[T, None, None]:
    """``make(step)`` for every step, in order; ``workers`` threads make them ahead, none: when asked for."""
    if not workers:
        yield from map(make, steps)
        return
    pool = ThreadPoolExecutor(workers)
    try:
        ahead: deque[Future[T]] = deque()
        for step in steps:
            ahead.append(pool.submit(make, step))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def train(
    trainer: Trainer, photos: Sequence[np.ndarray], val: Tensor, pace: Pace, team: Team | None = None
) -> bool:
    """Run to the recipe's last step; returns False when a signal stopped it earlier, with its state saved.

    ``val``: (B, C, H, W) in [-1, 1], used by the leading process alone. A signal to any process stops all.
    """
    team = team or Team()
    recipe, device = trainer.recipe, trainer.device
    diffusion = GaussianDiffusion.from_config(recipe.diffusion)
    network = trainer.network(team, pace.compiled)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=pace.bf16)
    recent: list[Tensor] = []
    started = time.monotonic()

    def make(step: int) -> tuple[Tensor, Tensor, Tensor]:
        now = recipe.at(step)
        return make_batch(photos, now, step, diffusion.alphas_cumprod, team.share(now.batch_size))

    batches = prepared(make, range(trainer.step, recipe.steps), pace.workers)
    bar = tqdm(
        total=recipe.images(recipe.steps), initial=recipe.images(trainer.step), desc="training",
        unit="image", unit_scale=True, smoothing=0.02, disable=not team.first,
    )  # fmt: skip
    with bar, contextlib.closing(batches), noted_signals((signal.SIGINT, signal.SIGTERM)) as stop:
        while trainer.step < recipe.steps and not team.any(bool(stop)):
            x, t, noise = (part.to(device) for part in next(batches))
            if recipe.model.dropout:
                seed = np.random.SeedSequence([recipe.seed, trainer.step, team.rank])
                torch.manual_seed(int(seed.generate_state(1)[0]))
            with autocast:
                losses = training_losses(
                    network, diffusion, x, t, noise, recipe.min_snr_gamma, recipe.multiscale
                )
            trainer.update(losses["loss"].mean())
            recent.append(losses["mse"].detach().mean())
            bar.update(recipe.images(trainer.step) - bar.n)
            if trainer.step % 10 == 0:  # reading the loss waits for the GPU
                bar.set_postfix(loss=f"{_mean(recent[-100:]):.4f}", step=trainer.step, refresh=False)
            if trainer.step % pace.val_every == 0 or trainer.step == recipe.steps:
                loss = team.mean(_mean(recent))
                recent.clear()
                if team.first:
                    scores = {"step": trainer.step, "loss": loss, **validate(trainer.ema, diffusion, val)}
                    _log(trainer.run_dir / "log.jsonl", {**scores, "seconds": time.monotonic() - started})
            if team.first and trainer.step % pace.save_every == 0:
                trainer.save()
        if team.first:
            trainer.save()
        team.wait()  # one that ends early would take the others along before the state is saved
    return trainer.step == recipe.steps


def _mean(losses: Sequence[Tensor]) -> float:
    return float(torch.stack(list(losses)).double().mean())


def _log(path: Path, scores: dict[str, float]) -> None:
    tqdm.write(json.dumps({key: round(value, 4) for key, value in scores.items()}))
    with path.open("a") as stream:
        stream.write(json.dumps(scores) + "\n")
