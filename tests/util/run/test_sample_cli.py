"""``python sample.py`` end to end, as a user runs it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import sample
from guided_diffusion.config import DiffusionConfig
from guided_diffusion.execution import DTYPES, Precision
from guided_diffusion.fusion_config import FusionConfig
from guided_diffusion.unet import UNetModel
from tests.conftest import TINY, PriorFiles, make_pair, rule_model
from tests.rounding import of_network
from util.cli.sample_arguments import sample_parser
from util.files import file_sha256
from util.images import png
from util.images.png import read_png_text
from util.prior import COMPACT_CONFIG, OFFICIAL_CONFIG, choose_prior, read_config
from util.run import fusing
from util.run import record as run_record
from util.run.record import RunRecord
from util.run.shared_run import SharedRun

ROOT = Path(sample.__file__).parent
SampleRun = Callable[..., int]


@pytest.fixture
def work(tmp_path: Path, tiny_prior: PriorFiles) -> Path:
    """A folder with input pairs, and configurations of the tiny prior and three steps."""
    for stem in ("a", "b", "c"):
        make_pair(tmp_path / "input", stem)
    (tmp_path / "diffusion.yaml").write_text("timestep_respacing: 3\n")
    (tmp_path / "model.yaml").write_text(tiny_prior.config.read_text())
    return tmp_path


def arguments(work: Path, *more: str) -> list[str]:
    given = {
        "--model_config": work / "model.yaml",
        "--diffusion_config": work / "diffusion.yaml",
        "--input": work / "input",
        "--save_dir": work / "output",
        "--device": "cpu",
    }
    defaults = [str(part) for flag, value in given.items() if flag not in more for part in (flag, value)]
    return [*defaults, *more]


@pytest.fixture
def run(work: Path) -> SampleRun:
    """Runs sample.py in this process with the arguments of ``work`` and those given."""
    return lambda *more: sample.main(arguments(work, *more))


def command(work: Path, *more: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Runs sample.py as its own process."""
    line = [sys.executable, str(ROOT / "sample.py"), *arguments(work, *more)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(line, capture_output=True, text=True, check=False, env=env, **kwargs)


def image(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def record(work: Path) -> dict[str, Any]:
    return json.loads((work / "output/run.json").read_text())


def write_fusion(work: Path, **keys: Any) -> str:
    path = work / "fusion.yaml"
    path.write_text(yaml.safe_dump(keys))
    return str(path)


def test_golden_pair(
    work: Path, trajectory: dict[str, np.ndarray], trajectory_prior: PriorFiles, run: SampleRun
):
    """The image of the released implementation, within a grey level, from files to file."""
    for side in ("ir", "vi"):
        for old in (work / "input" / side).iterdir():
            old.unlink()
        Image.fromarray(trajectory[side]).save(work / "input" / side / "pair.png")
    (work / "diffusion.yaml").write_text(yaml.safe_dump(json.loads(str(trajectory["diffusion"]))))
    status = run("--model_config", str(trajectory_prior.config), "--precision", "fp32", "--record")
    assert status == 0
    result = image(work / "output/recon/pair.png")
    assert result.shape == (64, 96) and result.dtype == np.uint8
    assert np.abs(result.astype(int) - trajectory["image"]).max() <= 1
    progress = sorted(p.name for p in (work / "output/progress/pair").iterdir())
    assert progress == [f"x_{index:04d}.png" for index in range(10)]
    # the released code rounds the result but truncates the recorded steps
    last = image(work / "output/progress/pair/x_0000.png").astype(int)
    assert ((result - last >= 0) & (result - last <= 1)).mean() > 0.999


def test_as_its_own_process(work: Path):
    done = command(work)
    assert done.returncode == 0, done.stderr
    assert "3 fused, 0 skipped, 0 failed" in done.stdout
    assert str(work / "output/recon") in done.stdout
    for word in (
        "prior prior.pt",
        "sha256",
        "cpu, fp32, seed 3407, ddim with 3 of 1000 steps",
        "EM released",
    ):
        assert word in done.stderr
    assert sorted(p.name for p in (work / "output/recon").iterdir()) == ["a.png", "b.png", "c.png"]
    assert not (work / "output/color").exists() and not (work / "output/progress").exists()


def test_help_documents_every_flag_with_its_default():
    done = subprocess.run(
        [sys.executable, str(ROOT / "sample.py"), "--help"], capture_output=True, text=True, check=True
    )
    _, *entries = re.split(r"^  (?:-\w [A-Z]+, )?--(?=\w)", done.stdout, flags=re.MULTILINE)
    described = {re.split(r"[ ,\n]", entry)[0]: entry for entry in entries}
    assert described.pop("version")
    assert set(described) == set(vars(sample_parser(ROOT).parse_args([])))
    assert [flag for flag, entry in described.items() if "default:" not in entry] == []
    assert "exit status" in done.stdout


def test_same_image_in_any_company(work: Path, run: SampleRun):
    """Batch size, order and neighbours change an image by a grey level at most: sums in another order."""
    make_pair(work / "input", "d", (64, 96))  # of another size
    images: dict[str, list[np.ndarray]] = {}
    for number, batch in enumerate(("1", "2", "9", "auto")):
        assert run("--save_dir", str(work / f"out{number}"), "--batch_size", batch) == 0
        for path in (work / f"out{number}/recon").iterdir():
            images.setdefault(path.stem, []).append(image(path).astype(int))
    assert sorted(images) == ["a", "b", "c", "d"]
    for results in images.values():
        assert all(np.abs(result - results[0]).max() <= 1 for result in results)
    # alone, without the others before it
    assert run("--save_dir", str(work / "first"), "--limit", "1") == 0
    assert [p.name for p in (work / "first/recon").iterdir()] == ["a.png"]
    np.testing.assert_array_equal(image(work / "first/recon/a.png"), images["a"][0])


def test_images_carry_what_made_them(work: Path, run: SampleRun, tiny_prior: PriorFiles):
    assert run("--seed", "5") == 0
    text = read_png_text(work / "output/recon/a.png")
    made = json.loads(text["ddfm"])
    kept = record(work)
    for source in (made, kept):
        assert source["prior"]["file"] == "prior.pt"
        assert source["prior"]["sha256"] == file_sha256(tiny_prior.checkpoint)
        assert source["fusion_config"]["seed"] == 5
        assert source["diffusion_config"]["timestep_respacing"] == 3
        assert source["device"] == "cpu" and source["precision"] == "fp32"
        assert source["versions"]["torch"] == torch.__version__
    assert made["ir"] == "a.png"
    assert kept["counts"] == {"done": 3, "skipped": 0, "failed": 0}
    assert [pair["stem"] for pair in kept["pairs"]] == ["a", "b", "c"]
    assert all(pair["seconds"] > 0 for pair in kept["pairs"])


def test_what_is_there_is_skipped_unless_it_was_made_otherwise(work: Path, run: SampleRun):
    assert run() == 0
    first = (work / "output/recon/a.png").stat().st_mtime_ns

    def redone() -> bool:
        nonlocal first
        before, first = first, (work / "output/recon/a.png").stat().st_mtime_ns
        return first != before

    assert run() == 0 and not redone()
    assert record(work)["counts"] == {"done": 0, "skipped": 3, "failed": 0}
    assert run("--overwrite") == 0 and redone()
    assert run("--seed", "1") == 0 and redone()
    (work / "output/recon/a.png").write_bytes(b"cut")
    assert run("--seed", "1") == 0 and record(work)["counts"] == {"done": 1, "skipped": 2, "failed": 0}
    make_pair(work / "input", "a", seed=9)
    assert run("--seed", "1") == 0 and record(work)["counts"]["done"] == 1


def test_every_sampler_and_other_settings(work: Path, run: SampleRun):
    variants: dict[str, list[str]] = {"ddim": []}
    for sampler in ("ddpm", "dpmpp_2m"):
        (work / f"{sampler}.yaml").write_text(f"sampler: {sampler}\ntimestep_respacing: 3\n")
        variants[sampler] = ["--diffusion_config", str(work / f"{sampler}.yaml")]
    for name, keys in {
        "paper": {"em": {"variant": "paper", "rho": 0.1}},
        "admm": {"em": {"phi": 0.5}},
        "no_tv": {"em": {"variant": "paper", "rho": 0.1, "tv": False}},
        "alone": {"prior": False},
    }.items():
        path = work / f"{name}.yaml"
        path.write_text(yaml.safe_dump(keys))
        variants[name] = ["--fusion_config", str(path)]
    results = {}
    for name, more in variants.items():
        assert run("--save_dir", str(work / name), "--limit", "1", *more) == 0, name
        results[name] = image(work / name / "recon/a.png").astype(int)
        assert results[name].min() == 0 and results[name].max() == 255
    assert min(np.abs(one - two).mean() for one, two in itertools.combinations(results.values(), 2)) > 0.01
    text = read_png_text(work / "alone/recon/a.png")
    assert json.loads(text["ddfm"])["prior"] is None


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near(work: Path, run: SampleRun, precision: Precision):
    """From late steps on, since an early one magnifies the network's rounding 157 times before it clips.

    x_0 = (x_t - sqrt(1 - a) eps) / sqrt(a) takes over the error of eps, whose pixels are below 1 in the mean, times
    sqrt((1 - a) / a), which is 0.38 at t = 111 and 0.01 at t = 0; the rectification lets through less than all of it.
    """
    (work / "diffusion.yaml").write_text("timestep_respacing: 10\n")
    late = ["--limit", "1", "--fusion_config", write_fusion(work, warm_start=200)]
    assert run(*late) == 0
    assert run(*late, "--precision", precision, "--save_dir", str(work / "half")) == 0
    difference = image(work / "half/recon/a.png").astype(int) - image(work / "output/recon/a.png")
    network = rule_model(TINY)
    network.convert_body(DTYPES[precision])
    assert 0 < np.abs(difference).mean() < 127.5 * (0.38 + 0.01) * of_network(network)
    assert json.loads(read_png_text(work / "half/recon/a.png")["ddfm"])["precision"] == precision


def test_crop_and_pad(work: Path, run: SampleRun):
    make_pair(work / "input", "odd", (70, 100), colour="vi")
    assert run() == 0
    assert image(work / "output/recon/odd.png").shape == (64, 96)
    assert image(work / "output/color/odd.png").shape == (64, 96, 3)
    assert run("--fusion_config", write_fusion(work, fit="pad")) == 0
    assert image(work / "output/recon/odd.png").shape == (70, 100)
    assert image(work / "output/color/odd.png").shape == (70, 100, 3)


@pytest.mark.parametrize(
    "colour, mode, expected",
    [
        ("vi", "auto", True),
        ("ir", "auto", True),
        ("", "auto", False),
        ("vi", "off", False),
        ("vi", "ir", False),
    ],
)
def test_colour(work: Path, run: SampleRun, colour: str, mode: str, expected: bool):
    make_pair(work / "input", "a", colour=colour)
    assert run("--limit", "1", "--fusion_config", write_fusion(work, color=mode)) == 0
    assert image(work / "output/recon/a.png").ndim == 2
    path = work / "output/color/a.png"
    assert path.exists() == expected
    if expected:
        assert image(path).shape == (64, 64, 3)
        assert json.loads(read_png_text(path)["ddfm"])["prior"]["file"] == "prior.pt"


def test_a_bad_pair_costs_only_itself(work: Path):
    make_pair(work / "input", "sizes")
    Image.linear_gradient("L").resize((96, 64)).save(work / "input/vi/sizes.png")
    (work / "input/ir/b.png").write_bytes(b"no image")
    (work / "input/ir/lone.png").write_bytes((work / "input/ir/a.png").read_bytes())
    done = command(work, "--batch_size", "2")
    assert done.returncode == 1
    assert "2 fused, 0 skipped, 3 failed" in done.stdout
    for word in ("b.png: not a readable image", "sizes.png is 64x64", "96x64", "lone.png has no partner"):
        assert word in done.stderr and word in done.stdout
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in (work / "output/recon").iterdir()) == ["a.png", "c.png"]
    failed = {pair["stem"]: pair["reason"] for pair in record(work)["pairs"] if pair["status"] == "failed"}
    assert set(failed) == {"b", "sizes", "lone"}


def test_a_write_that_fails_is_the_pairs_own_problem(
    work: Path, run: SampleRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """In a batch too: the pairs before and after it in the batch are written once and counted once."""
    (work / "output/recon/b.png").mkdir(parents=True)  # something that no file can replace
    assert run("--batch_size", "3") == 1
    assert [(p["stem"], p["status"]) for p in record(work)["pairs"]] == [
        ("a", "done"),
        ("b", "failed"),
        ("c", "done"),
    ]
    assert "failed: b: its result cannot be written" in capsys.readouterr().out


def test_a_full_disk_stops_the_run_and_leaves_what_is_there(
    work: Path, run: SampleRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run("--limit", "1") == 0
    before = (work / "output/recon/a.png").read_bytes()
    write, calls = run_record.write_atomically, []

    def full(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(run_record, "write_atomically", full)
    monkeypatch.setattr(png, "write_atomically", full)
    assert run("--overwrite") == 1
    captured = capsys.readouterr()
    assert "0 fused, 0 skipped, 1 failed" in captured.out
    assert "stopped with 2 not tried: the disk is full" in captured.out and "make room" in captured.out
    assert (work / "output/recon/a.png").read_bytes() == before
    assert not list((work / "output").rglob(".part-*"))
    assert "run.json cannot be written" in captured.err


def test_an_error_nobody_foresaw_still_costs_only_its_pair(
    work: Path, run: SampleRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    fuse, calls = fusing.fuse, []

    def wrong(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("a bug")
        return fuse(*args, **options)

    monkeypatch.setattr(fusing, "fuse", wrong)
    assert run() == 1
    captured = capsys.readouterr()
    assert "failed: b: KeyError: 'a bug'" in captured.out and "Traceback" in captured.err
    assert record(work)["counts"] == {"done": 2, "skipped": 0, "failed": 1}


def test_interruption_keeps_what_is_done(work: Path, run: SampleRun, monkeypatch: pytest.MonkeyPatch):
    fuse, calls = fusing.fuse, []

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fuse(*args, **options)

    monkeypatch.setattr(fusing, "fuse", interrupted)
    assert run() == 130
    assert record(work)["interrupted"] and record(work)["counts"]["done"] == 1
    assert run() == 0
    assert record(work)["counts"] == {"done": 2, "skipped": 1, "failed": 0}


@pytest.mark.parametrize(
    "more, words",
    [
        (["--input", "/nowhere"], ["/nowhere/ir is not a folder"]),
        (["--model_config", "/nowhere.yaml"], ["/nowhere.yaml", "cannot read"]),
        (["--device", "cuda"], ["finds no CUDA device", "--device cpu"]),
        (["--device", "tpu"], ["give auto, cpu, cuda"]),
    ],
)
def test_nothing_starts(
    work: Path, more: list[str], words: list[str], caplog: Any, capsys: Any, run: SampleRun
):
    if torch.cuda.is_available() and "cuda" in more:
        pytest.skip("there is a CUDA device here")
    assert run(*more) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert not (work / "output").exists()


def write(work: Path, name: str, **keys: Any) -> list[str]:
    (work / name).write_text(yaml.safe_dump(keys))
    return [f"--{name.removesuffix('.yaml')}", str(work / name)]


@pytest.mark.parametrize(
    "name, keys, words",
    [
        ("fusion_config.yaml", {"prior": "yes please"}, ["prior", "true or false"]),
        ("fusion_config.yaml", {"em": {"rho": -1}}, ["em.rho", "more than 0"]),
        ("diffusion_config.yaml", {"timestep_respacing": 2000}, ["2000"]),
        ("diffusion_config.yaml", {"model_var_type": "fixed_small"}, ["fixed_small", "learned_range"]),
        ("diffusion_config.yaml", {"sampler": "plms"}, ["sampler", "ddim, ddpm"]),
    ],
)
def test_wrong_configuration(
    work: Path, name: str, keys: dict[str, Any], words: list[str], capsys: Any, run: SampleRun
):
    assert run(*write(work, name, **keys)) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert not (work / "output").exists()


@pytest.mark.parametrize("damage", ["missing", "truncated", "other", "class_cond", "no_path"])
def test_unusable_prior_never_samples(
    work: Path, damage: str, tiny_prior: PriorFiles, capsys: Any, run: SampleRun
):
    keys = {**tiny_prior.keys, "model_path": str(work / "broken.pt")}
    if damage == "truncated":
        (work / "broken.pt").write_bytes(tiny_prior.checkpoint.read_bytes()[:-20_000])
    elif damage != "missing":
        (work / "broken.pt").write_bytes(tiny_prior.checkpoint.read_bytes())
    changes = {
        "other": {"num_res_blocks": 2},
        "class_cond": {"class_cond": True},
        "no_path": {"model_path": ""},
    }
    config = work / "broken.yaml"
    config.write_text(yaml.safe_dump({**keys, **changes.get(damage, {})}))
    assert run("--model_config", str(config)) == 2
    error = capsys.readouterr().err
    word = {
        "missing": "does not exist",
        "truncated": "damaged",
        "other": "is no checkpoint of the model in",
        "class_cond": "unconditional",
        "no_path": "model_path",
    }[damage]
    assert word in error
    assert not (work / "output").exists()


def test_wrong_usage_is_exit_2(work: Path):
    for more in (
        ["--batch_size", "0"],
        ["--batch_size", "some"],
        ["--nonsense"],
        ["--precision", "fp8"],
        ["--seed", "-1"],
    ):
        done = command(work, *more)
        assert done.returncode == 2 and "Traceback" not in done.stderr


def test_gpu_flag_falls_back_as_published(work: Path, run: SampleRun, capsys: Any):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert run("--gpu", "0", "--limit", "1") == 0
    assert "no CUDA device here, the CPU is used" in capsys.readouterr().err


def test_dry_run_writes_nothing(work: Path, run: SampleRun, capsys: Any):
    assert run("--dry_run") == 0
    assert "would fuse" in capsys.readouterr().err
    assert not (work / "output").exists()
    (work / "input/ir/lone.png").write_bytes(b"")
    assert run("--dry_run") == 1


def test_quiet_says_only_the_summary(work: Path):
    done = command(work, "--quiet", "--limit", "1")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("1 fused")


def test_what_the_prior_means_is_said(work: Path, tiny_prior: PriorFiles, run: SampleRun, capsys: Any):
    assert run("--dry_run") == 0
    assert "not the official checkpoint" in capsys.readouterr().err
    config = work / "model_config_imagenet.yaml"
    config.write_text(tiny_prior.config.read_text())
    assert run("--dry_run", "--quiet", "--model_config", str(config)) == 0
    assert "not the published checkpoint" in capsys.readouterr().err  # a warning, said even when quiet


def test_default_prior_is_the_official_one_only_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert choose_prior(None, ROOT)[0] == ROOT / COMPACT_CONFIG
    (tmp_path / "models").mkdir()
    (tmp_path / "models/256x256_diffusion_uncond.pt").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert choose_prior(None, ROOT)[0] == ROOT / OFFICIAL_CONFIG


def test_shipped_configuration_is_that_of_the_released_code():
    config = read_config(DiffusionConfig, ROOT / "configs/diffusion_config.yaml")
    assert dataclasses.asdict(config)["timestep_respacing"] == 100 and config.sampler == "ddim"


def test_tiles(work: Path, run: SampleRun, monkeypatch: pytest.MonkeyPatch):
    """Large images go through the prior in tiles, and look as they do when they go through whole."""
    make_pair(work / "input", "a", (96, 128))
    whole = write_fusion(work, runtime={"tile": "off"})
    assert run("--limit", "1", "--fusion_config", whole, "--save_dir", str(work / "whole")) == 0
    shapes: set[tuple[int, ...]] = set()
    call = UNetModel.forward

    def watch(model: Any, x: torch.Tensor, *rest: Any) -> torch.Tensor:
        shapes.add(tuple(x.shape[2:]))
        return call(model, x, *rest)

    monkeypatch.setattr(UNetModel, "forward", watch)
    tiles = write_fusion(work, runtime={"tile": 64, "overlap": 32})
    assert run("--limit", "1", "--fusion_config", tiles) == 0
    assert shapes == {(64, 64)}
    difference = image(work / "output/recon/a.png").astype(int) - image(work / "whole/recon/a.png")
    assert np.abs(difference).mean() < 12  # levels: the norms of a tile are not those of the whole
    for wrong in ({"tile": 65}, {"tile": 64, "overlap": 64}, {"overlap": 5}):
        assert run("--fusion_config", write_fusion(work, runtime=wrong)) == 2


def test_which_sizes_are_tiled():
    runtime = FusionConfig().runtime
    assert runtime.tile_of((1024, 1024)) is None and runtime.tile_of((1024, 1280)) == 512


def test_a_signal_while_the_end_is_told_changes_nothing(
    work: Path, run: SampleRun, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    """torchrun's agent ends the processes that are left just when they tell that one has died."""
    told: list[str] = []
    for kind, name in ((SharedRun, "complete"), (RunRecord, "summary")):
        method = getattr(kind, name)

        def disturbed(self: Any, *rest: Any, method: Any = method, name: str = name) -> Any:
            told.append(name)
            signal.raise_signal(signal.SIGTERM)
            return method(self, *rest)

        monkeypatch.setattr(kind, name, disturbed)
    assert run() == 0 and told == ["complete", "summary"]
    assert "3 fused" in capsys.readouterr().out and record(work)["counts"]["done"] == 3


def test_how_the_prior_runs(work: Path, run: SampleRun, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    """Flags before YAML; what was chosen is said, kept, and the same whether it was asked for or not."""
    assert run() == 0
    assert "cpu: float32, channels_last, SDPA, folded upsampling" in capsys.readouterr().err
    assert run("--precision", "fp32", "--no-compile") == 0
    assert [pair["status"] for pair in record(work)["pairs"]] == ["skipped"] * 3
    half = write_fusion(work, runtime={"precision": "bf16"})
    assert run("--fusion_config", half, "--limit", "1") == 0
    kept = record(work)
    assert kept["precision"] == kept["fusion_config"]["runtime"]["precision"] == "bf16"
    assert [pair["status"] for pair in kept["pairs"]] == ["done"]
    assert run("--fusion_config", half, "--precision", "auto", "--dry_run") == 0
    assert "cpu, fp32, seed" in capsys.readouterr().err
    assert run("--precision", "tf32") == 2
    assert "tf32 is a mode of CUDA devices" in capsys.readouterr().err

    def no_compiler(*_: Any, **__: Any) -> Any:
        raise RuntimeError("there is no compiler")

    monkeypatch.setattr(torch, "compile", no_compiler)
    assert run("--compile", "--limit", "1") == 0
    assert "running without it (RuntimeError: there is no compiler)" in capsys.readouterr().err
    assert record(work)["fusion_config"]["runtime"]["compile"] is False
