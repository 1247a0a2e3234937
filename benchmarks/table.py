"""The speed of fusion, naive and ours, as a Markdown table.

    python -m benchmarks.table

naive: eager float32, one pair at a time, default layout and allocator, attention through its whole matrix, a PNG
every step. ours: as sample.py runs it. Each time in a process of its own, taking turns (A B A B); medians.
The share of the roof: FLOPs of the published network over those of a matrix product of the same precision,
measured in the same processes. Weights are made up: no checkpoint is needed to time an architecture. A second table
has ``local_fast`` and ``local`` on a pair of 640x480, and how often noise asks a prior; ``--priors`` without a name
makes that one alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks import local
from benchmarks.cost import gflop
from benchmarks.step import Case, Outcome
from guided_diffusion.config import ModelConfig
from guided_diffusion.execution import DTYPES
from util.cli.arguments import positive
from util.device import device_label
from util.files import project_root
from util.markdown import markdown_rows
from util.prior import read_config

ROOT = project_root()
PRIORS = {
    "compact": str(ROOT / "configs/model_config_compact.yaml"),
    "grey": str(ROOT / "configs/model_config_grey.yaml"),
    "official": str(ROOT / "configs/model_config_imagenet.yaml"),
}
HEADINGS = (
    *("prior", "configuration", "s/step", "around the network", "s/pair", "images/s", "peak memory"),
    *("share of the roof", "times naive"),
)


def make_cases(args: argparse.Namespace, device: str) -> list[Case]:
    """Naive and ours of every prior, in the order in which they take turns."""
    cases = []
    for name in args.priors:
        config = PRIORS.get(name) or str(Path(name).resolve())
        first = Case(config, "naive", args.height, args.width, device, steps=args.steps)
        ours = replace(first, way="ours", compile=args.compile, batch=args.batch_size)
        cases.append(first)
        cases += [
            replace(ours, precision=precision)
            for precision in args.precisions
            if precision != "tf32" or device != "cpu"
        ]
    return cases


def take_turns(cases: Sequence[Case], rounds: int) -> dict[Case, list[Outcome]]:
    """Measure each case ``rounds`` times in turns, in processes of their own. Raises CalledProcessError."""
    outcomes: dict[Case, list[Outcome]] = {case: [] for case in cases}
    for case in tqdm(list(cases) * rounds, disable=None, unit="turn"):
        line = [sys.executable, "-m", "benchmarks.step", json.dumps(asdict(case))]
        done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        outcomes[case].append(Outcome(**json.loads(done.stdout.splitlines()[-1])))
    return outcomes


def median(outcomes: Sequence[Outcome]) -> Outcome:
    """Of each figure by itself."""
    rows = [asdict(outcome) for outcome in outcomes]
    return Outcome(**{key: statistics.median(row[key] for row in rows) for key in rows[0]})


def table(outcomes: dict[Case, list[Outcome]], names: Mapping[str, str], pair_steps: int = 100) -> str:
    """Markdown: a line for each case; ``names`` of the configurations; ``pair_steps`` steps make a pair."""
    rows: list[Sequence[str]] = [HEADINGS]
    medians = {case: median(runs) for case, runs in outcomes.items()}
    naive_seconds = {case.config: found.step for case, found in medians.items() if case.way == "naive"}
    for case, found in medians.items():
        each = found.step / case.batch
        config = read_config(ModelConfig, Path(case.config))
        rate = gflop(config, case.height, case.width) * 1e9 / each
        cells = (
            names[case.config],
            _configuration(case),
            f"{found.step:.4g}",
            f"{(found.step - found.network) / found.step:.1%}",
            f"{each * pair_steps:.4g}",
            f"{1 / (each * pair_steps):.3g}",
            f"{found.peak / 2**30:.2f} GiB",
            f"{rate / found.roof:.0%}",
            f"{naive_seconds[case.config] / each:.2f}" if case.config in naive_seconds else "-",
        )
        rows.append(cells)
    return markdown_rows(*rows)


def _configuration(case: Case) -> str:
    if case.way == "naive":
        return "naive, fp32"
    return (
        f"ours, {case.precision}{', compiled' * case.compile}{f', batch of {case.batch}' * (case.batch > 1)}"
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--priors",
        nargs="*",
        default=["compact", "official"],
        metavar="NAME",
        help="compact, grey, official, or a model's YAML (default: compact official)",
    )
    add("--height", type=positive, default=256, help="of the images (default %(default)s)")
    add("--width", type=positive, default=256, help="of the images (default %(default)s)")
    add("--steps", type=positive, default=4, help="timed steps in a turn (default %(default)s)")
    add("--rounds", type=positive, default=3, help="turns of each (default %(default)s)")
    add("--pair_steps", type=positive, default=100, help="steps that make a pair (default %(default)s)")
    add("--precisions", nargs="+", choices=list(DTYPES), default=["fp32"], help="of ours (default: fp32)")
    add("--batch_size", type=positive, default=1, help="pairs at a time in ours (default %(default)s)")
    add("--compile", action="store_true", help="ours through torch.compile (default: off)")
    add("--devices", nargs="+", choices=["cpu", "cuda"], default=["cpu", "cuda"], help="(default: both)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 measured; 1 a measurement failed, and has said why."""
    args = parse_args(argv)
    names = {PRIORS.get(name) or str(Path(name).resolve()): Path(name).stem for name in args.priors}
    for device in args.devices:
        if device == "cuda" and not torch.cuda.is_available():
            print("\nCUDA: not measured, there is no CUDA device here")
            continue
        try:
            outcomes = take_turns(make_cases(args, device), args.rounds)
        except subprocess.CalledProcessError as error:
            print(f"benchmarks.table: a measurement failed ({error})", file=sys.stderr)
            return 1
        label = f"{device_label(torch.device(device))}, {torch.get_num_threads()} threads"
        if outcomes:
            print(
                f"\n{label}, torch {torch.__version__}, pairs of {args.width}x{args.height}, {args.pair_steps} steps "
                f"a pair, medians of {args.rounds} x {args.steps} steps\n\n{table(outcomes, names, args.pair_steps)}"
            )
        print(
            f"\n{label}, without a sampler, pairs of {local.WIDTH}x{local.HEIGHT}, medians of {args.rounds}\n\n"
            f"{local.table(torch.device(device), args.rounds)}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
