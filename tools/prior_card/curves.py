"""Curves of a prior: its loss at every timestep, and what became of loss and PSNR while it was trained."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from util.files import write_atomically

mpl.rcParams.update({"axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "ddfm"})


def read_log(path: Path) -> list[dict[str, float]]:
    """The entries of a training log in order of step; of a step done twice, after a kill, the last one counts.

    Raises ValueError, naming the file, when it cannot be read or is no such log.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if line.strip()]
        by_step = {int(entry["step"]): entry for entry in entries}
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no log.jsonl of tools.train_prior ({error!r})") from error
    if not by_step:
        raise ValueError(f"{path} is empty: the first entry comes with the first validation")
    return [by_step[step] for step in sorted(by_step)]


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())


def plot_training(logs: Sequence[Path], path: Path) -> None:
    """Loss and one-step PSNR over the steps. ``logs``: the stages of one training, drawn one after the other.

    Raises ValueError as :func:`read_log` does.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    before = 0
    for number, log in enumerate(logs):
        entries = read_log(log)
        steps = [before + entry["step"] for entry in entries]
        for name, label, colour in (("loss", "training", "0.6"), ("val_loss", "validation", "C0")):
            values = [entry[name] for entry in entries]
            left.plot(steps, values, color=colour, marker=".", label=label if number == 0 else None)
        names = [name for name in entries[0] if name.startswith("psnr_")]
        for index, name in enumerate(names):
            label = f"sigma {name.removeprefix('psnr_')}" if number == 0 else None
            values = [entry[name] for entry in entries]
            right.plot(steps, values, color=f"C{index}", marker=".", label=label)
        if before:
            for axes in (left, right):
                axes.axvline(before, color="0.3", linestyle=":")
        before = steps[-1]
    left.set(xlabel="step", ylabel="mean squared error", yscale="log")
    right.set(xlabel="step", ylabel="one-step PSNR of the batch, dB")
    left.legend()
    right.legend(loc="center left", bbox_to_anchor=(1, 0.5))  # the curves leave no room inside
    _save(figure, path)


def plot_losses(losses: Sequence[dict[str, Any]], path: Path) -> None:
    """Entries with ``t``, ``mse`` and perhaps ``vb``, over the timesteps."""
    names = {"mse": "squared error of what the network predicts", "vb": "bound, bits per dimension"}
    present = [name for name in names if name in losses[0]]
    figure = Figure(figsize=(5 * len(present), 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(present), squeeze=False)[0], present, strict=True):
        axes.plot([entry["t"] for entry in losses], [entry[name] for entry in losses], marker=".")
        axes.set(xlabel="timestep", ylabel=names[name], yscale="log")
    _save(figure, path)
