"""Training in two processes: the same weights as in one, stopping together, never going on alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.conftest import TINY
from tools import train_prior
from tools.training.team import Team, join_team

pytestmark = pytest.mark.slow


def command(folder: Path, name: str, steps: int) -> list[str]:
    (folder / "photos").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(4):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        coarse.resize((140, 130), Image.Resampling.BICUBIC).save(folder / f"photos/{number}.png")
    config = folder / "model.yaml"
    config.write_text(yaml.safe_dump({**TINY, "model_path": "x.pt"}))
    photos = str(folder / "photos")
    line = ["--data", photos, "--val", photos, "--val_images", "1", "--val_every", "1000000"]
    line += ["--model_config", str(config), "--device", "cpu", "--steps", str(steps), "--batch_size", "4"]
    line += ["--crop", "16", "--warmup", "2", "--save_every", "2"]
    return [*line, "--out", str(folder / f"{name}.pt"), "--run_dir", str(folder / name)]


def start_two(line: list[str]) -> list[subprocess.Popen[str]]:
    """Two ranks without torchrun's agent, which would end the survivor of a death by itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tools.train_prior", *line],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]


def wait_until(
    done: Callable[[], bool], processes: list[subprocess.Popen[str]], seconds: float = 120
) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline or any(p.poll() is not None for p in processes):
            for process in processes:
                process.kill()
            pytest.fail("".join(p.communicate()[0] for p in processes))
        time.sleep(0.05)


def test_two_processes_train_the_weights_of_one(tmp_path: Path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    line = [*torchrun, "-m", "tools.train_prior", *command(tmp_path, "two", 5)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote") == 1 and "2 x cpu" in done.stdout
    assert train_prior.main(command(tmp_path, "one", 5)) == 0
    states = [torch.load(tmp_path / f"{name}/state.pt", weights_only=True) for name in ("one", "two")]
    assert states[1]["step"] == 5 and states[0]["recipe"] == states[1]["recipe"]
    losses = [json.loads((tmp_path / name / "log.jsonl").read_text())["loss"] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    recipe = train_prior.read_recipe(train_prior.parse_args(command(tmp_path, "start", 5)))
    fresh = train_prior.Trainer(recipe, tmp_path, torch.device("cpu"), None).model.state_dict()
    start, one, two = (
        torch.cat([state[key].flatten() for key in fresh]) for state in (fresh, *(s["model"] for s in states))
    )
    # not weight by weight: Adam moves one whose gradient is rounding alone as far as any other
    assert (one - two).norm() < 0.005 * (one - start).norm()


def test_a_signal_to_one_stops_both_with_the_state_saved(tmp_path: Path):
    processes = start_two(command(tmp_path, "run", 1_000_000))
    wait_until((tmp_path / "run/state.pt").exists, processes)
    processes[1].send_signal(signal.SIGTERM)
    out = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [130, 130], out
    step = torch.load(tmp_path / "run/state.pt", weights_only=True)["step"]
    assert f"stopped at step {step};" in out[0] and "stopped" not in out[1]


def test_a_dead_process_ends_the_other(tmp_path: Path):
    processes = start_two(command(tmp_path, "run", 1_000_000))
    wait_until((tmp_path / "run/state.pt").exists, processes)
    processes[1].kill()
    out = processes[0].communicate(timeout=60)[0]
    processes[1].communicate()
    assert processes[0].returncode not in (0, 130), out
    assert not (tmp_path / "run.pt").exists()
    assert torch.load(tmp_path / "run/state.pt", weights_only=True)["step"] % 2 == 0  # the last regular save


def test_one_device_for_all_is_refused(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="its own device"), join_team("cuda:1"):
        pass


def test_shares():
    assert [Team(rank, 4).share(8) for rank in range(4)] == [slice(n, n + 2) for n in range(0, 8, 2)]
    with pytest.raises(ValueError, match="cannot be shared equally among 3"):
        Team(0, 3).share(16)
