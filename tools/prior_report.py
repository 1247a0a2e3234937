"""The evaluation of a prior as Markdown tables, and putting these into a model card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from util.files import write_atomically


def markdown_rows(*rows: list[str]) -> str:
    """Rows of cells as a Markdown table, the first being the head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def cost_table(cost: Mapping[str, Any]) -> str:
    """``prior`` and ``official``: mappings with ``parameters``, ``bytes`` and ``gflop``."""
    prior, official = cost["prior"], cost["official"]
    rows = [
        ["", "this prior", "official architecture"],
        ["parameters", f"{prior['parameters']:,}", f"{official['parameters']:,}"],
        ["file", f"{prior['bytes'] / 1e6:.1f} MB", f"{official['bytes'] / 1e6:,.0f} MB"],
        ["GFLOP a step at 256x256", f"{prior['gflop']:.1f}", f"{official['gflop']:,.0f}"],
    ]
    return markdown_rows(*rows)


def denoising_table(result: Mapping[str, Any]) -> str:
    """Mean PSNR for every sigma: of the noisy images, the companions and the prior."""
    levels: list[dict[str, Any]] = result["levels"]
    methods = [name for name in levels[0]["psnr"] if name not in ("noisy", "prior", "prior_unclipped")]
    labels = {"noisy": "noisy images", **{name: name for name in methods}}
    labels |= {"prior": "**this prior, one step**", "prior_unclipped": "the same, not clipped"}
    rows = [["noise, sigma of 255", *(f"{level['sigma']:g}" for level in levels)]]
    rows.append(["timestep", *(str(level["t"]) for level in levels)])
    rows += [[label, *(f"{level['psnr'][name]:.2f}" for level in levels)] for name, label in labels.items()]
    caption = (
        f"PSNR in dB, mean of {result['images']} photographs, centre crops of "
        f"{result['crop']}x{result['crop']}, noise of seed {result['seed']}."
    )
    return f"{markdown_rows(*rows)}\n\n{caption}"


def loss_table(result: Mapping[str, Any]) -> str:
    """``mse`` and, where the variance is learned, ``vb`` for every timestep, a row each."""
    losses: list[dict[str, float]] = result["timesteps"]
    labels = {"mse": "squared error", "vb": "bound, bits per dimension"}
    names = [name for name in labels if name in losses[0]]
    rows = [["timestep", *(labels[name] for name in names)]]
    rows += [[f"{entry['t']:.0f}", *(f"{entry[name]:.3g}" for name in names)] for entry in losses]
    return f"{markdown_rows(*rows)}\n\nMean of {result['images']} photographs."


def fill_card(card: Path, sections: Mapping[str, str]) -> None:
    """Replace what stands in ``card`` between ``<!-- NAME -->`` and ``<!-- end -->`` by the text of that name.

    Raises ValueError for a name whose marks are missing, OSError when the file cannot be read or written.
    """
    text = card.read_text(encoding="utf-8")
    for name, content in sections.items():
        pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = pattern.subn(lambda match, new=content: f"{match[1]}{new}\n{match[2]}", text)
        if count != 1:
            raise ValueError(f"{card} has {count} places <!-- {name} --> ... <!-- end -->, not one")
    write_atomically(card, text.encode())
