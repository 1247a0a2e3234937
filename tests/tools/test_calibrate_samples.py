"""Calibration of samples: what is counted, and the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guided_diffusion.samples import Spread
from tests.conftest import PriorFiles, make_pair
from tools.calibrate_samples import Calibration, main, middle
from util.images.image_io import read_image


def spread_of(draws: torch.Tensor) -> Spread:
    spread = Spread()
    for draw in draws.split(1):
        spread.add(draw)
    return spread


def test_draws_of_the_truth_are_calibrated():
    """Truth and 8 draws from one normal distribution a pixel, of 10 grey levels: Student's t, 65 % and 91 %.

    65,536 pixels know a share to 0.2 %, and the ratio to sqrt(1 / (2 * 65536)) and as much of the spread: 0.5 %.
    """
    generator = torch.Generator().manual_seed(0)
    every = 10 / 127.5 * torch.randn(9, 1, 256, 256, generator=generator)
    calibration = Calibration()
    calibration.add(spread_of(every[1:]), every[:1])
    label, error, spread, ratio, one, two = calibration.row("x")
    assert label == "x" and float(error) == pytest.approx(10 * (1 + 1 / 8) ** 0.5, abs=0.1)
    assert float(spread) == pytest.approx(float(error), abs=0.1) and float(ratio) == pytest.approx(
        1, abs=0.02
    )
    assert abs(float(one[:-1]) - 65) <= 1 and abs(float(two[:-1]) - 91) <= 1  # rounded
    half = Calibration()
    half.add(spread_of(every[1:] / 2), every[:1])
    assert float(half.row("")[3]) > 1.7  # the error is that of the truth alone, 10.16, the spread 5.3


def test_the_middle_fits_the_prior():
    image = np.arange(100 * 70).reshape(100, 70)
    part = middle(image, 65)
    assert part.shape == (64, 64) and part[0, 0] == image[18, 3]


def test_the_table_has_a_row_for_each_kind_of_sample(tmp_path: Path, tiny_prior: PriorFiles, capsys: Any):
    make_pair(tmp_path, "a", (70, 100))
    line = ["--input", str(tmp_path), "--samples", "2", "--steps", "6", "--side", "32", "--chains"]
    picture = tmp_path / "spread.png"
    assert main([*line, "--model_config", str(tiny_prior.config), "--picture", str(picture)]) == 0
    levels = read_image(picture).luma
    assert levels.shape == (32, 5 * 32 + 2 * 40 + 4 * 6)  # five images, two scales, four gaps
    spread, off = levels[:, 114:146], levels[:, 192:224]
    assert spread.std() > 5 and off.std() > 5 and not np.array_equal(spread, off)
    rows = [row.split("|")[1].strip() for row in capsys.readouterr().out.splitlines() if row.startswith("| ")]
    assert rows[1:] == [
        "first source",
        "second source",
        "`local_fast`, `prior: noise`",
        "`local`, `prior: noise`",
        "`local`, `prior: true`, ddpm",
        "ddpm alone, sources denoised",
        "calibrated would be",
    ]


def test_wrong_options_are_refused(tmp_path: Path, capsys: Any):
    with pytest.raises(SystemExit):
        main(["--input", str(tmp_path), "--samples", "1"])
    assert "--samples must be 2 or more" in capsys.readouterr().err
    assert main(["--input", str(tmp_path / "none")]) == 2
