"""docs/ddfm.ipynb: a valid notebook without outputs, whose cells run in order on small images and in few steps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK: dict[str, Any] = json.loads((ROOT / "docs/ddfm.ipynb").read_text(encoding="utf-8"))
CELLS: list[dict[str, Any]] = NOTEBOOK["cells"]
SMALL = {"STEPS": 2, "SIDE": 64}


def test_it_is_a_notebook():
    """What the format, version 4.5, asks of the keys that are here."""
    assert set(NOTEBOOK) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    for cell in CELLS:
        keys = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            keys |= {"execution_count", "outputs"}
        assert set(cell) == keys and cell["cell_type"] in ("code", "markdown")
        assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", cell["id"])
        assert all(line.endswith("\n") for line in cell["source"][:-1])
    assert len({cell["id"] for cell in CELLS}) == len(CELLS)


def test_nothing_of_a_run_or_a_machine_is_in_it():
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS if "outputs" in cell
    )
    assert not re.search(r"/(home|tmp|work|root|Users|mnt|content)/", json.dumps(NOTEBOOK))


def code_of(name: str) -> str:
    (cell,) = [cell for cell in CELLS if cell["id"] == name]
    return "".join(cell["source"])


def test_its_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in CELLS:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {cell['id']}", "exec"), names)
        if cell["id"] == "parameters":
            assert set(SMALL) <= set(names)
            names.update(SMALL)
    assert np.asarray(Image.open("fused.png")).shape == (64, 64, 3)
    assert names["released"].grey.shape == names["first"].shape == (64, 64) and len(names["states"]) == 2
    assert all(word in str(names["scores"]) for word in ("released", "local", "VIF_min"))


def test_without_the_project_the_address_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import importlib.util

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="put the address of its repository into REPOSITORY"):
        exec(code_of("install"), {})
    ran: list[list[str]] = []
    monkeypatch.setattr("subprocess.run", lambda line, check: ran.append(line))
    exec(code_of("install").replace('REPOSITORY = ""', 'REPOSITORY = "git+https://host/owner/ddfm"'), {})
    assert ran[0][1:] == ["-m", "pip", "install", "--quiet", "git+https://host/owner/ddfm"]
