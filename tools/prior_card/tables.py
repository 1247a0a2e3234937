"""The evaluation of a prior as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from util.markdown import markdown_rows


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
    if "before" in labels:
        labels["before"] = "the prior before, one step"
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
    """``mse``, where the variance is learned ``vb``, and ``colour`` for every timestep, a row each."""
    losses: list[dict[str, float]] = result["timesteps"]
    labels = {"mse": "squared error", "vb": "bound, bits per dimension", "colour": "mean colour, levels off"}
    names = [name for name in labels if name in losses[0]]
    rows = [["timestep", *(labels[name] for name in names)]]
    rows += [[f"{entry['t']:.0f}", *(f"{entry[name]:.3g}" for name in names)] for entry in losses]
    caption = (
        f"Mean of {result['images']} photographs. Last column: by how much, of 255 and root mean square, the mean "
        f"colour of pred_xstart is off; the same guess for every photograph would be off by {result['spread']:.0f}."
    )
    return f"{markdown_rows(*rows)}\n\n{caption}"


def thermal_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What :func:`tools.prior_card.grey.denoise_thermal` found, a row for every sequence."""
    labels = {
        "noisy": "as recorded",
        "even": "without stripes",
        "before": "the prior before",
        "prior": "this prior",
    }
    names = [name for name in labels if name in rows[0]["psnr"]]
    head = ["sequence", "frames", "noise, sigma of 255", *(labels[name] for name in names)]
    lines = [
        [
            str(row["sequence"]), str(row["frames"]), f"{row['sigma']:.1f}",
            *(f"{row['psnr'][name]:.2f} ({_noise(row['left'][name])})" for name in names),
        ]
        for row in rows
    ]  # fmt: skip
    caption = (
        "PSNR in dB to the clean frames after the slope and offset of levels that fit best; in brackets the noise "
        "that is measured in the result."
    )
    return f"{markdown_rows(head, *lines)}\n\n{caption}"


def _noise(sigma: float) -> str:
    return f"{sigma:.1f}" if sigma else "under 5"
