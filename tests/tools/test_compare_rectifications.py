"""The table of ways of fusing: every way, noise, and what it is measured against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tools import compare_rectifications as tool
from tools import ways_of_fusing
from util.images.png import write_png


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for side in ("ir", "vi"):
        for stem in ("a", "b"):
            blocks = generator.integers(0, 256, (8, 9)).astype(np.uint8)
            write_png(tmp_path / side / f"{stem}.png", np.kron(blocks, np.ones((8, 8), np.uint8)))
    return tmp_path


def test_every_way_has_a_row(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = scenes / "fused"
    assert tool.main(["--input", str(scenes), "--brief", "--every", "2", "--out", str(out)]) == 0
    rows = capsys.readouterr().out.splitlines()
    labels = [row.split("|")[1].strip() for row in rows if row.startswith("| ")]
    assert labels[1:] == [way.label for way in ways_of_fusing.ways("ivf", None)]
    assert rows[-1].startswith("Pairs: 1")
    assert len(list(out.glob("*/a.png"))) == len(labels) - 1


def test_kept_scores_are_gone_on_from(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--input", str(scenes), "--brief", "--scores", str(scenes / "scores.json")]
    assert tool.main(command) == 0
    first = capsys.readouterr().out
    (scenes / "ir/b.png").write_bytes(b"no image")  # would fail if it were opened again
    assert tool.main(command) == 0
    assert capsys.readouterr().out == first
    assert tool.main([*command, "--noise", "20"]) == 2  # other scores
    (scenes / "scores.json").write_text("{}")
    assert tool.main(command) == 2


def test_ways_are_left_out(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        tool.main(["--input", str(scenes), "--brief", "--every", "2", "--skip", "EM alone", "pyramid"]) == 0
    )
    labels = [
        row.split("|")[1].strip() for row in capsys.readouterr().out.splitlines() if row.startswith("| ")
    ]
    assert labels[1:] == ["mean", "brighter", "`local_fast`", "`local`"]


def test_missing_folders_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([]) == 2


def test_pyramid_keeps_what_both_share_and_noise_is_as_strong_as_asked() -> None:
    image = torch.rand((1, 1, 40, 50), generator=torch.Generator().manual_seed(0)) - 0.5
    assert torch.allclose(ways_of_fusing.laplacian_pyramid(image, image), image, atol=1e-6)
    grey = np.full((200, 200), 128, np.uint8)
    found = tool.noisy(grey, 10.0, np.random.default_rng(0)).astype(float)
    assert found.std() == pytest.approx(10, rel=0.03)  # 40,000 values: known to 0.4 percent, and rounding
