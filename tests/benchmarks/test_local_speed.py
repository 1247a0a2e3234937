"""The rows of local fusion: both, with how often noise asks a prior."""

from __future__ import annotations

import pytest
import torch

from benchmarks import local
from benchmarks.table import main


def test_rows_tell_seconds_and_evaluations() -> None:
    rows = local.table(torch.device("cpu"), 1, 64, 96).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == ["`local_fast`", "`local`"]
    for row in cells:
        assert float(row[1]) > 0
        assert row[2:] == ["0", "2"]  # one a noisy source
    assert float(cells[1][1]) > float(cells[0][1])  # 20 iterations more


def test_without_priors_it_is_the_one_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "table", lambda device, rounds: "rows")
    assert main(["--priors", "--devices", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "640x480" in out and out.rstrip().endswith("rows")
