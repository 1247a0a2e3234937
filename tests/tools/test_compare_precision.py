"""The effect of precision, measured on pairs of files with a tiny network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import PriorFiles, make_pair
from tools.compare_precision import change, main, table
from util.evaluation.metrics import PAPER_METRICS


def rows(out: str) -> dict[str, list[str]]:
    """Cells of the lines of a table, by precision."""
    lines = [line for line in out.splitlines() if line.startswith("| ")][1:]
    return {cells[1]: cells[2:-1] for cells in ([c.strip() for c in line.split("|")] for line in lines)}


def test_the_command(tmp_path: Path, tiny_prior: PriorFiles, capsys: Any):
    for stem in ("a", "b", "c"):
        make_pair(tmp_path, stem, (64, 96))
    line = [
        "--data",
        str(tmp_path),
        "--steps",
        "3",
        "--model_config",
        str(tiny_prior.config),
        "--device",
        "cpu",
    ]
    assert main([*line, "--pairs", "2", "--precisions", "bf16"]) == 0
    captured = capsys.readouterr()
    assert "cpu, 2 pairs, 3 steps" in captured.out
    found = rows(captured.out)
    assert list(found) == ["fp32", "bf16"]
    assert all("(+0.00%)" in cell for cell in found["fp32"][: len(PAPER_METRICS)])
    assert found["fp32"][6:8] == ["0.00%, under 1%", "0"]
    assert int(found["bf16"][7]) >= 1
    (tmp_path / "ir/lone.png").write_bytes(b"")
    assert main([*line, "--pairs", "1", "--precisions", "fp32"]) == 1
    assert "lone" in capsys.readouterr().err


def test_nothing_to_compare(tmp_path: Path, tiny_prior: PriorFiles, capsys: Any):
    line = ["--data", str(tmp_path), "--model_config", str(tiny_prior.config), "--device", "cpu"]
    assert main(line) == 2
    assert main([*line, "--precisions", "tf32"]) == 2
    assert "tf32 is a mode of CUDA devices" in capsys.readouterr().err


def test_the_worst_metric_decides():
    """Means over two pairs; the last metric moves by 2 %."""
    exact = np.ones((2, len(PAPER_METRICS)))
    moved = exact.copy()
    moved[:, -1] = [1.05, 0.99]
    moved[:, 0] = [1.5, 0.5]
    found = rows(table({"fp32": exact, "fp16": moved}, {"fp32": 0, "fp16": 7}, {"fp32": 1.0, "fp16": 2.0}))
    assert found["fp16"][0] == "1.0000 (+0.00%)" and found["fp16"][5] == "1.0200 (+2.00%)"
    assert found["fp16"][6:] == ["2.00%, not under 1%", "7", "2.0"]


def test_change():
    assert change(0.0, 0.0) == 0.0 and change(1.0, 0.0) == math.inf
    assert change(-1.5, -1.0) == -0.5
