"""The folders for a model hub: whole, true and usable, or not there."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import make_pair
from tools import make_hub_folder
from tools.make_hub_folder import PRIORS, card
from util.checkpoint.known import GREY_SHA256
from util.files import project_root
from util.prior import open_prior


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hub") / "new/hub"
    assert make_hub_folder.main(["--out", str(out)]) == 0
    return out


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of which single files can be taken away."""
    root = tmp_path / "project"
    for name in ("models", "configs", "docs/prior"):
        shutil.copytree(project_root() / name, root / name)
    shutil.copyfile(project_root() / "LICENSE", root / "LICENSE")
    return root


@pytest.mark.parametrize("name", list(PRIORS))
def test_every_file_is_there_and_is_hashed(hub: Path, name: str):
    folder = hub / name
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert set(sums) == set(files) - {"SHA256SUMS"}
    assert all(
        hashlib.sha256(files[file].read_bytes()).hexdigest() == wanted for file, wanted in sums.items()
    )
    assert sums[PRIORS[name].weights] == PRIORS[name].sha256
    assert {"README.md", "LICENSE", "config.json", "diffusion_config.yaml", PRIORS[name].config} < set(files)


@pytest.mark.parametrize("name", list(PRIORS))
def test_the_card_is_one_that_hubs_read(hub: Path, name: str):
    text = (hub / name / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    keys: dict[str, Any] = yaml.safe_load(head)
    assert keys["pipeline_tag"] == "unconditional-image-generation" and keys["library_name"] == "ddfm"
    assert keys["license"] == "other" and (hub / name / keys["license_link"]).is_file()
    assert all(re.fullmatch(r"[\w-]+/[\w-]+", dataset) for dataset in keys["datasets"])
    assert all(re.fullmatch("[a-z][a-z-]*", tag) for tag in keys["tags"]) and "image-fusion" in keys["tags"]
    assert body.startswith("# Model card") and PRIORS[name].sha256 in body
    links = re.findall(r"\]\(([^)]+)\)", re.sub(r"^```.*?^```", "", body, flags=re.DOTALL | re.MULTILINE))
    assert links and all((hub / name / link).is_file() for link in links)
    for section in ("Use", "Data", "Recipe", "Measured", "What it is not for"):
        assert f"\n## {section}\n" in body


@pytest.mark.parametrize("name", list(PRIORS))
def test_the_card_says_how_to_use_it_and_that_works(
    hub: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (code,) = re.findall(
        r"^```python\n(.*?)^```", (hub / name / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    shutil.copytree(hub / name, tmp_path / "folder")
    monkeypatch.chdir(tmp_path / "folder")
    make_pair(tmp_path, "x", (32, 32))
    for side in ("ir", "vi"):
        shutil.copyfile(tmp_path / side / "x.png", f"{side}.png")
    # as it stands, but for the number of steps
    code = code.replace("prior = open_prior(", "prior = quick(").replace("fuse, open_prior", "fuse")
    described = json.loads(Path("config.json").read_text())

    def quick(config: str) -> Any:
        from ddfm import DiffusionConfig

        prior = open_prior(config, diffusion=DiffusionConfig(timestep_respacing=2), device="cpu")
        assert (
            prior.info.sha256 == PRIORS[name].sha256 and prior.channels == described["model"]["in_channels"]
        )
        return prior

    exec(compile(code, "card", "exec"), {"quick": quick})
    assert Path("fused.png").stat().st_size > 0


def test_what_is_there_is_not_touched(hub: Path, capsys: pytest.CaptureFixture[str]):
    before = (hub / "compact/README.md").stat().st_mtime_ns
    assert make_hub_folder.main(["--out", str(hub)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (hub / "compact/README.md").stat().st_mtime_ns == before


@pytest.mark.parametrize("gone", ["models/compact_grey.pt", "docs/prior/training.png", "LICENSE"])
def test_all_or_nothing(project: Path, tmp_path: Path, gone: str):
    (project / gone).unlink()
    with pytest.raises(OSError, match=Path(gone).name):
        make_hub_folder.make_hub_folder(tmp_path / "out/hub", list(PRIORS), project)
    assert not list((tmp_path / "out").iterdir())


def test_other_weights_do_not_get_the_card(project: Path, tmp_path: Path):
    shutil.copyfile(project / "models/compact.pt", project / "models/compact_grey.pt")
    with pytest.raises(ValueError, match=f"but its card is about {GREY_SHA256}"):
        make_hub_folder.make_hub_folder(tmp_path / "out/hub", ["compact", "grey"], project)
    assert not list((tmp_path / "out").iterdir())


def test_pictures_of_one_name_are_not_mixed_up(project: Path):
    text = (project / "models/README.md").read_text()
    (project / "models/README.md").write_text(f"{text}\n![a](../docs/prior/x.png) ![b](../docs/y/x.png)\n")
    with pytest.raises(ValueError, match=r"two pictures are called x\.png"):
        card(PRIORS["compact"], project)
