"""Seconds and peak memory of one fusion step, of the compact and of the official architecture.

    python -m benchmarks.step

Both run as ``sample.py`` runs them, each time in a process of its own, taking turns; medians are printed.
The official architecture gets made-up weights: its checkpoint is not needed to time it.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from guided_diffusion.config import DiffusionConfig, FusionConfig, ModelConfig, from_mapping
from guided_diffusion.fusion import fusion_steps
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.nn import channels_last
from guided_diffusion.script_util import empty_model
from tools.rule_weights import rule_state_dict
from util.allocator import keep_freed_memory
from util.config_io import read_yaml
from util.device import choose_device, device_label

PRIORS = {
    "compact": "configs/model_config_compact.yaml",
    "official": "configs/model_config_imagenet.yaml",
}


def measure(config_path: str, height: int, width: int, steps: int, device: torch.device) -> dict[str, Any]:
    """Median seconds of a step and of the network in it, and the peak memory of this process or the card."""
    keep_freed_memory()
    config = from_mapping(ModelConfig, read_yaml(config_path), config_path)
    model = empty_model(config)
    model.load_state_dict(rule_state_dict(model, 0), assign=True)
    model = channels_last(model.eval().requires_grad_(False).to(device))
    network: list[float] = []

    def timed(x: Tensor, t: Tensor) -> Tensor:
        started = _now(device)
        out = model(x, t)
        network.append(_now(device) - started)
        return out

    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=steps + 1))
    sources = (
        torch.rand(2, 1, 1, height, width, generator=torch.Generator().manual_seed(0)).to(device) * 2 - 1
    )
    whole: list[float] = []
    before = _now(device)
    for _ in fusion_steps(timed, diffusion, "ddim", FusionConfig(), sources[0], sources[1]):
        after = _now(device)
        whole.append(after - before)
        before = after
    peak = (
        torch.cuda.max_memory_allocated(device)
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    # the first step warms up
    return {"step": statistics.median(whole[1:]), "network": statistics.median(network[1:]), "peak": peak}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def take_turns(
    configs: Mapping[str, str], height: int, width: int, steps: int, rounds: int, device: str
) -> dict[str, list[dict[str, Any]]]:
    """What :func:`measure` says of each model configuration, ``rounds`` times in turns, in processes of their own."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in configs}
    sizes = ["--height", str(height), "--width", str(width), "--steps", str(steps), "--device", device]
    for _ in range(rounds):
        for name, path in configs.items():
            line = [sys.executable, "-m", "benchmarks.step", *sizes, "--worker", path]
            done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True)
            results[name].append(json.loads(done.stdout.splitlines()[-1]))
    return results


def table(results: Mapping[str, list[dict[str, Any]]]) -> str:
    """Medians over the turns, as Markdown."""
    lines = ["| prior | seconds a step | of it the network | rest | peak memory |", "|---|---|---|---|---|"]
    for name, runs in results.items():
        step, network, peak = (statistics.median(r[key] for r in runs) for key in ("step", "network", "peak"))
        lines.append(
            f"| {name} | {step:.3f} | {network:.3f} | {step - network:.4f} | {peak / 2**30:.2f} GiB |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--height", type=int, default=256, help="of the image (default %(default)s)")
    parser.add_argument("--width", type=int, default=256, help="of the image (default %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps in a turn (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default %(default)s)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = choose_device(args.device, None)
    if args.worker:
        print(json.dumps(measure(args.worker, args.height, args.width, args.steps, device)))
        return
    results = take_turns(PRIORS, args.height, args.width, args.steps, args.rounds, args.device)
    print(
        f"{device_label(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}, float32, "
        f"one pair of {args.width}x{args.height}, medians of {args.rounds} x {args.steps} steps\n"
    )
    print(table(results))


if __name__ == "__main__":
    main()
