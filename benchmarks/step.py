"""Measures fusion steps in this process and prints the outcome as JSON: what ``benchmarks.table`` starts.

    python -m benchmarks.step '{"config": "configs/model_config_compact.yaml", "way": "ours"}'

The keys are those of :class:`Case`. The architecture gets made-up weights: its checkpoint is not needed to time it.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.naive import naive
from benchmarks.rule_weights import rule_state_dict
from guided_diffusion.config import DiffusionConfig, ModelConfig
from guided_diffusion.execution import DTYPES, CompiledModel, Execution, Precision, ready
from guided_diffusion.fusion import fusion_steps
from guided_diffusion.gaussian_diffusion import GaussianDiffusion, Model
from guided_diffusion.prior import NetworkPrior
from guided_diffusion.script_util import empty_model
from guided_diffusion.ycbcr import full_range_luma
from util.allocator import keep_freed_memory
from util.images.levels import stretch
from util.images.png import write_png
from util.prior import read_config

Way = Literal["naive", "ours"]


@dataclass(frozen=True)
class Case:
    """What to measure. ``way``: ``naive`` (one pair, a PNG every step) or ``ours``, as ``sample.py`` runs it."""

    config: str
    way: Way
    height: int = 256
    width: int = 256
    device: str = "cpu"
    precision: Precision = "fp32"
    compile: bool = False
    batch: int = 1
    steps: int = 4


@dataclass(frozen=True)
class Outcome:
    """Median seconds of a step of the batch and of the network in it; peak bytes; FLOP/s of a matrix product."""

    step: float
    network: float
    peak: int
    roof: float


def measure(case: Case) -> Outcome:
    """Run one step to warm up and ``case.steps`` timed ones, then the matrix product."""
    device = torch.device(case.device)
    if case.way == "ours":
        keep_freed_memory()
    config = read_config(ModelConfig, Path(case.config))
    model = make_model(config, case, device)
    network: list[float] = []

    def timed(x: Tensor, t: Tensor) -> Tensor:
        started = _now(device)
        out = model(x, t)
        network.append(_now(device) - started)
        return out

    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=case.steps + 1))
    generator = torch.Generator().manual_seed(0)
    sources = torch.rand((2, case.batch, 1, case.height, case.width), generator=generator) * 2 - 1
    ir, vi = sources.to(device)
    whole: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        before = _now(device)
        for step in fusion_steps(NetworkPrior(timed, diffusion, config.in_channels), (ir, vi)):
            if case.way == "naive":
                state = stretch(full_range_luma(step.x_t)[0, 0].cpu().numpy()).astype(np.uint8)
                write_png(Path(folder, f"{step.index}.png"), state)
            after = _now(device)
            whole.append(after - before)
            before = after
    peak = peak_memory(device)
    return Outcome(
        statistics.median(whole[1:]),
        statistics.median(network[1:]),
        peak,
        matrix_product(device, case.precision),
    )


def make_model(config: ModelConfig, case: Case, device: torch.device) -> Model:
    """The network of ``config`` with made-up weights, in the case's way."""
    model = empty_model(config)
    model.load_state_dict(rule_state_dict(model, 0), assign=True)
    if case.way == "naive":
        return naive(model, device)
    model = ready(model, Execution(device, case.precision))
    return CompiledModel(model) if case.compile else model


def matrix_product(device: torch.device, precision: Precision, repeats: int = 5) -> float:
    """FLOP/s of a large square matrix product in ``precision``, the median of ``repeats``."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn((2, side, side), device=device, dtype=DTYPES[precision])
    seconds = []
    for _ in range(repeats + 1):
        started = _now(device)
        torch.mm(a, b)
        seconds.append(_now(device) - started)
    return 2 * side**3 / statistics.median(seconds[1:])


def peak_memory(device: torch.device) -> int:
    """Bytes: of the card's memory, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Case(**json.loads(sys.argv[1]))))))
