"""``model_path`` as an address: fetched once into models/, then used from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import sample
from tests.conftest import PriorFiles, make_pair
from tests.file_server import FileServer, serving
from util.checkpoint import download as download_module
from util.checkpoint import locate
from util.files import project_root

CONFIGS = project_root() / "configs"
Run = Callable[[str], int]


@pytest.fixture
def server(tiny_prior: PriorFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setattr(download_module, "WAITS", (0, 0, 0, 0))
    with serving(tiny_prior.checkpoint.read_bytes()) as running:
        yield running


@pytest.fixture
def run(tmp_path: Path, tiny_prior: PriorFiles, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs sample.py, as if the project lay in the temporary folder, with a prior from an address."""
    make_pair(tmp_path / "input", "a")
    (tmp_path / "diffusion.yaml").write_text("timestep_respacing: 2\n")
    for module in ("sample", "util.prior", "util.run.folder"):
        monkeypatch.setattr(f"{module}.project_root", lambda: tmp_path)

    def with_prior(model_path: str) -> int:
        (tmp_path / "model.yaml").write_text(yaml.safe_dump({**tiny_prior.keys, "model_path": model_path}))
        line = ["--model_config", "model.yaml", "--diffusion_config", "diffusion.yaml", "--device", "cpu"]
        line += ["--fusion_config", str(CONFIGS / "fusion_config.yaml"), "--overwrite"]
        return sample.main(line)

    monkeypatch.chdir(tmp_path)
    return with_prior


def test_fetched_once_and_used(run: Run, server: FileServer, tmp_path: Path, tiny_prior: PriorFiles):
    server.drops = [50_000]
    assert run(server.url) == 0
    assert server.ranges_asked == [0, 50_000]
    assert (tmp_path / "models/prior.pt").read_bytes() == tiny_prior.checkpoint.read_bytes()
    assert json.loads((tmp_path / "output/run.json").read_text())["prior"]["file"] == "prior.pt"
    image = (tmp_path / "output/recon/a.png").read_bytes()
    assert run(server.url) == 0
    assert len(server.paths) == 2  # the second run asks nobody
    assert (tmp_path / "output/recon/a.png").read_bytes() == image


def test_same_name_from_elsewhere_is_not_mistaken(run: Run, server: FileServer, capsys: Any):
    assert run(server.url) == 0
    assert run(f"{server.root}/other/prior.pt") == 2
    assert "came from" in capsys.readouterr().err


@pytest.mark.parametrize("trouble", ["404", "scheme", "breaks", "page"])
def test_unreachable_prior_starts_nothing(
    run: Run, server: FileServer, tmp_path: Path, trouble: str, capsys: Any
):
    url = "ftp://host/prior.pt" if trouble == "scheme" else server.url
    server.statuses = [404] if trouble == "404" else []
    server.drops = [1000] + [0] * 9 if trouble == "breaks" else []
    server.kind = "text/html" if trouble == "page" else server.kind
    assert run(url) == 2
    error = capsys.readouterr().err
    words = {
        "404": "no such file",
        "scheme": "known here",
        "breaks": "the first 1,000 bytes are kept",
        "page": "is a web page",
    }[trouble]
    assert words in error and "Traceback" not in error
    assert not (tmp_path / "output").exists() and not (tmp_path / "models/prior.pt").exists()


def test_where_a_prior_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "project"
    assert locate("models/a.pt", root) == root / "models/a.pt"
    assert locate("/somewhere/a.pt", root) == Path("/somewhere/a.pt")
    for url in ("https://host/x/a%20b.pt?download=true", "az://account/box/a b.pt", "gs://box/x/a b.pt"):
        assert locate(url, root) == root / "models/a b.pt"
    (tmp_path / "models").mkdir()
    (tmp_path / "models/a.pt").touch()
    assert locate("models/a.pt", root) == Path("models/a.pt")
