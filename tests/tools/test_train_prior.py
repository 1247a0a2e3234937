"""Training: the recipe decides the weights, whatever interrupts it."""

from __future__ import annotations

import io
import json
import math
import signal
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from guided_diffusion.config import DiffusionConfig
from guided_diffusion.gaussian_diffusion import GaussianDiffusion
from guided_diffusion.script_util import create_model
from tests.conftest import TINY
from tools import train_prior
from tools.training import loop as training
from tools.training.grey import grey_weights
from tools.training.photos import load_photos
from tools.training.recipe import Recipe
from tools.training.validation import sigma_timestep, validate
from util.checkpoint.loading import load_prior


@pytest.fixture(autouse=True, scope="module")
def small_validation():
    """Twelve calls of a network are quick on 32x32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_prior, "VAL_CROP", 32)
        yield


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty photographs of 160x136 pixels, half of them in a subfolder, and files that are none."""
    rng = np.random.default_rng(0)
    for number in range(20):
        folder = tmp_path / "photos" / ("more" if number % 2 else "")
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        coarse.resize((160, 136), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    (tmp_path / "photos/notes.txt").write_text("none")
    (tmp_path / "photos/broken.png").write_bytes(b"none")
    return tmp_path / "photos"


def command(tmp_path: Path, photos: Path, name: str, *more: str) -> list[str]:
    config = tmp_path / "model.yaml"
    config.write_text(yaml.safe_dump({**TINY, "model_path": "x.pt"}))
    out = tmp_path / f"{name}.pt"
    line = ["--data", str(photos), "--val", str(photos), "--model_config", str(config), "--device", "cpu"]
    line += ["--out", str(out), "--run_dir", str(tmp_path / name), "--steps", "6", "--batch_size", "2"]
    line += ["--crop", "16", "--warmup", "2", "--val_every", "6", "--save_every", "2"]
    line += ["--val_images", "1"]
    return [*line, *more]


def run(tmp_path: Path, photos: Path, name: str, *more: str) -> dict[str, Tensor]:
    assert train_prior.main(command(tmp_path, photos, name, *more)) == 0
    return torch.load(tmp_path / f"{name}.pt", weights_only=True)


def test_the_file_is_a_prior_in_half_precision_and_the_log_is_complete(tmp_path: Path, photos: Path):
    state = run(tmp_path, photos, "run", "--val_every", "3")
    assert all(value.dtype == torch.float16 for value in state.values())
    with torch.device("meta"):
        model = create_model(**TINY)
    load_prior(model, tmp_path / "run.pt", "model.yaml")
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [3, 6]
    assert all(math.isfinite(value) for entry in log for value in entry.values())


LATER = ("min_snr_gamma", "grey", "low_light", "multiscale", "small_crop")
LATEST = ("shrunk", "tones", "level_mean", "level_std", "optimizer")


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_killed_run_ends_with_the_same_weights(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
):
    """Killed after step 5, the last saved state being that of step 4."""
    whole = run(tmp_path, photos, "whole", "--optimizer", optimizer)
    kill(tmp_path, photos, monkeypatch, "--optimizer", optimizer)
    resumed = run(tmp_path, photos, "resumed", "--optimizer", optimizer)
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


@pytest.mark.parametrize("later", [LATEST, LATER + LATEST])
def test_a_run_of_an_older_version_goes_on(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, later: tuple[str, ...]
):
    """Its recipe has nothing of ``later``, and its state one optimiser."""
    whole = run(tmp_path, photos, "whole")
    state = kill(tmp_path, photos, monkeypatch)
    recipe = json.loads(state["recipe"])
    for choice in later:
        del recipe[choice]
    (state["optimizer"],) = state.pop("optimizers")
    torch.save({**state, "recipe": json.dumps(recipe, sort_keys=True)}, tmp_path / "resumed/state.pt")
    resumed = run(tmp_path, photos, "resumed")
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)


def kill(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> dict[str, Any]:
    """Run "resumed" until it dies after step 5; returns its state, of step 4."""
    make = training.make_batch

    def killed(photos: Any, recipe: Recipe, step: int, *rest: Any) -> Any:
        if step == 5:
            raise SystemExit("killed")
        return make(photos, recipe, step, *rest)

    monkeypatch.setattr(training, "make_batch", killed)
    with pytest.raises(SystemExit, match="killed"):
        run(tmp_path, photos, "resumed", *more)
    assert not (tmp_path / "resumed.pt").exists()
    monkeypatch.undo()
    state = torch.load(tmp_path / "resumed/state.pt", weights_only=True)
    assert state["step"] == 4
    return state


def test_a_stopped_run_saves_its_state_and_says_so(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    make = training.make_batch

    def interrupted(photos: Any, recipe: Recipe, step: int, *rest: Any) -> Any:
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        return make(photos, recipe, step, *rest)

    monkeypatch.setattr(training, "make_batch", interrupted)
    assert train_prior.main(command(tmp_path, photos, "run")) == 130
    assert "stopped at step 3" in capsys.readouterr().out  # the step in progress is finished
    assert torch.load(tmp_path / "run/state.pt", weights_only=True)["step"] == 3
    assert not (tmp_path / "run.pt").exists()


@pytest.mark.parametrize(
    "more",
    [
        ("--seed", "1"),
        ("--grey", "0.1"),
        ("--min_snr_gamma", "5"),
        ("--multiscale", "1"),
        ("--small_crop", "8"),
        ("--norm_groups", "8"),
        ("--optimizer", "muon"),
    ],
)
def test_another_recipe_does_not_go_on_from_this_state(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, str]
):
    run(tmp_path, photos, "run", "--steps", "1")
    assert train_prior.main(command(tmp_path, photos, "run", "--steps", "1", *more)) == 2
    assert "another recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--data", "none.tar"), "none.tar does not exist"),
        (("--batch_size", "0"), "at least 1"),
        (("--grey", "2"), "from 0 to 1"),
        (("--min_snr_gamma", "0"), "more than 0"),
        (("--multiscale", "-1"), "0 or more"),
        (("--small_crop", "999"), "from 0 (none) to crop"),
        (("--norm_groups", "5"), "a multiple of 5 channels"),
        (("--init", "WRONG"), "holds another network"),
    ],
)
def test_what_cannot_start_says_why(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, str], words: str
):
    torch.save({"a": torch.zeros(1)}, tmp_path / "wrong.pt")
    more = (more[0], more[1].replace("WRONG", str(tmp_path / "wrong.pt")))
    assert train_prior.main(command(tmp_path, photos, "run", *more)) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run.pt").exists()


def test_every_choice_of_the_recipe_trains(tmp_path: Path, photos: Path):
    choices = ["--timesteps", "edm", "--min_snr_gamma", "5", "--grey", "0.5", "--low_light", "0.5"]
    choices += ["--multiscale", "0.1", "--small_crop", "8", "--shrunk", "0.8", "--tones", "0.5"]
    choices += ["--level_mean", "-1.6", "--level_std", "1.1", "--optimizer", "muon"]
    state = run(tmp_path, photos, "run", *choices, "--precision", "bf16", "--workers", "2")
    assert all(value.isfinite().all() for value in state.values())


def test_starting_from_weights(tmp_path: Path, photos: Path):
    first = run(tmp_path, photos, "first")
    second = run(tmp_path, photos, "second", "--init", str(tmp_path / "first.pt"), "--lr", "0")
    for key in first:
        torch.testing.assert_close(second[key], first[key], rtol=2e-3, atol=1e-6)  # half precision


def test_a_deeper_network_starts_from_a_shallower_one(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
):
    first = run(tmp_path, photos, "first")
    deeper = tmp_path / "deeper.yaml"
    deeper.write_text(yaml.safe_dump({**TINY, "num_res_blocks": 2}))
    init = ["--init", str(tmp_path / "first.pt")]
    second = run(tmp_path, photos, "second", "--model_config", str(deeper), *init, "--lr", "0")
    assert len(second) > len(first)
    torch.testing.assert_close(second["out.2.weight"], first["out.2.weight"], rtol=2e-3, atol=1e-6)
    more = ["--init", str(tmp_path / "second.pt")]
    assert train_prior.main(command(tmp_path, photos, "third", *more)) == 2
    error = capsys.readouterr().err
    assert "second.pt holds another network" in error and "2 blocks a level, not of at most 1" in error


def test_a_grey_prior_starts_from_one_of_three_channels(tmp_path: Path, photos: Path):
    run(tmp_path, photos, "rgb")
    config = tmp_path / "grey.yaml"
    config.write_text(yaml.safe_dump({**TINY, "in_channels": 1}))
    more = ["--model_config", str(config), "--tones", "0.5", "--lr", "0"]
    first = run(tmp_path, photos, "grey", *more, "--init", str(tmp_path / "rgb.pt"))
    expected = grey_weights(torch.load(tmp_path / "rgb.pt", weights_only=True))
    again = run(tmp_path, photos, "again", *more, "--init", str(tmp_path / "grey.pt"))
    for key, value in expected.items():
        torch.testing.assert_close(first[key].float(), value.float(), rtol=2e-3, atol=1e-6)  # half precision
        torch.testing.assert_close(again[key], first[key], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("patch_size", [1, 2])
def test_grey_weights_say_what_the_colour_ones_say_about_grey(patch_size: int):
    """Of the noise in the direction (1, 1, 1) / sqrt(3), and the same share between the variances."""
    torch.manual_seed(0)
    keys = {**TINY, "patch_size": patch_size}
    rgb, grey = create_model(**keys).eval(), create_model(**keys, in_channels=1).eval()
    for parameter in rgb.parameters():
        nn.init.normal_(parameter, std=0.1)
    grey.load_state_dict(grey_weights(rgb.state_dict()))
    x, t = torch.randn(2, 1, 16, 16), torch.tensor([3, 500])
    with torch.no_grad():
        whole, said = rgb(x.expand(-1, 3, -1, -1) / math.sqrt(3), t), grey(x, t)
    expected = torch.cat([whole[:, :3].sum(1, True) / math.sqrt(3), whole[:, 3:].mean(1, True)], dim=1)
    torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_weights_that_cannot_be_made_grey():
    with pytest.raises(ValueError, match="takes 5 channels"):
        grey_weights(
            {"input_blocks.0.0.weight": torch.zeros(8, 5, 3, 3), "out.2.weight": torch.zeros(3, 8, 3, 3)}
        )
    with pytest.raises(ValueError, match="lack"):
        grey_weights({"a": torch.zeros(1)})


def test_training_lowers_the_loss(tmp_path: Path, photos: Path):
    run(tmp_path, photos, "run", "--steps", "60", "--lr", "2e-3", "--ema", "0.9", "--val_every", "20")
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert log[-1]["val_loss"] < 0.8 * log[0]["val_loss"]


def test_a_compiled_network_trains_the_same_weights(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    """With the backend that only traces: another would spend minutes on a C++ compiler."""
    plain = run(tmp_path, photos, "plain", "--steps", "3")
    compiled: list[nn.Module] = []
    compile_network = torch.compile

    def traced(model: nn.Module) -> Any:
        compiled.append(model)
        return compile_network(model, backend="eager")

    monkeypatch.setattr(torch, "compile", traced)
    state = run(tmp_path, photos, "compiled", "--steps", "3", "--compile")
    assert len(compiled) == 1
    assert all(torch.equal(state[key], plain[key]) for key in plain)


def test_photos_from_folders_and_archives_are_the_same(tmp_path: Path, photos: Path):
    archive = tmp_path / "photos.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(photos.rglob("*"), reverse=True):
            if path.is_file():
                content = path.read_bytes()
                info = tarfile.TarInfo(str(path.relative_to(photos)))
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    from_folder, from_archive = load_photos([photos], 32), load_photos([archive], 32)
    assert len(from_folder) == 20  # neither the note nor the broken file
    assert sorted(p.tobytes() for p in from_folder) == sorted(p.tobytes() for p in from_archive)
    assert len(load_photos([photos], 32, limit=3)) == 3
    assert len(load_photos([photos, archive], 32, limit=3)) == 3
    with pytest.raises(ValueError, match="no photograph of at least 500"):
        load_photos([photos], 500)
    with pytest.raises(ValueError, match="does not exist"):
        load_photos([tmp_path / "none.tar"], 32)


def test_batches_prepared_ahead_are_the_same_in_the_same_order():
    assert list(training.prepared(str, range(3, 20), workers=3)) == [str(n) for n in range(3, 20)]
    stream = training.prepared(str, range(100), workers=2)
    assert next(stream) == "0"
    stream.close()  # a run that stops early leaves no thread behind

    def fails(step: int) -> int:
        return 1 // (step - 2)

    with pytest.raises(ZeroDivisionError):
        list(training.prepared(fails, range(9), workers=2))


def test_noise_levels_and_psnr_of_a_known_predictor():
    """A network that always says eps = 0 leaves the noise in: PSNR is that of the noise itself."""
    diffusion = GaussianDiffusion.from_config(DiffusionConfig(timestep_respacing=""))

    class Zero(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.zeros(len(x), 6, *x.shape[2:])

    scores = validate(Zero(), diffusion, torch.zeros(2, 3, 64, 64))
    for sigma in (10, 25, 50, 100):
        alpha = diffusion.alphas_cumprod[sigma_timestep(diffusion, sigma)]
        actual = math.sqrt((1 - alpha) / alpha) * 127.5
        assert actual == pytest.approx(sigma, rel=0.05)  # the nearest of a thousand timesteps
        # 2 %: the mean square of 24,576 random numbers
        assert scores[f"psnr_{sigma}"] == pytest.approx(20 * math.log10(255 / actual), abs=0.1)
    assert scores["val_loss"] == pytest.approx(1.0, abs=0.02)
