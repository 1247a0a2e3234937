"""What is said: one line each, shown and not obeyed by a terminal, and never a reason to stop."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import sample
from tests.conftest import PriorFiles, make_pair
from util.checkpoint.__main__ import main as checkpoint_main
from util.logger import duration, get_logger, shown
from util.run import fusing

EVIL = "a\n\x1b[31mINFO: all is well\r\x07\x9b2J\u202e\u2028"


def arguments(folder: Path, prior: PriorFiles) -> list[str]:
    (folder / "one_step.yaml").write_text("timestep_respacing: 1\n")
    return [
        *("--model_config", str(prior.config), "--diffusion_config", str(folder / "one_step.yaml")),
        *("--input", str(folder / "input"), "--save_dir", str(folder / "output"), "--device", "cpu"),
    ]


def control_characters(text: str) -> set[str]:
    return {character for character in text if not character.isprintable()} - {"\n"}


def test_what_is_no_text_is_escaped():
    assert shown("Zürich 東京 c'd") == "Zürich 東京 c'd"
    assert shown("a\nb\x1b[0m\u202e\udce9") == r"a\nb\x1b[0m\u202e\udce9"
    assert not control_characters(shown(EVIL)) and "\n" not in shown(EVIL)


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.0, "0 ms"),
        (0.0454, "45 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (1.0, "1.0 s"),
        (74.96, "75.0 s"),
    ],
)
def test_times(seconds: float, words: str):
    assert duration(seconds) == words


def test_names_of_files(tmp_path: Path, tiny_prior: PriorFiles, capsys: Any):
    """A good pair and two bad ones, whose names would write lines of their own."""
    make_pair(tmp_path / "input", EVIL)
    make_pair(tmp_path / "input", f"{EVIL} bad")
    (tmp_path / f"input/ir/{EVIL} bad.png").write_bytes(b"")
    (tmp_path / f"input/vi/{EVIL} lone.png").write_bytes(b"")
    assert sample.main(arguments(tmp_path, tiny_prior)) == 1
    assert (tmp_path / f"output/recon/{EVIL}.png").exists()
    out, err = capsys.readouterr()
    assert not control_characters(out + err)
    assert not any(line.startswith(("INFO: all", "\x1b")) for line in (out + err).splitlines())
    assert out.count("\nfailed: ") == 2 and shown(EVIL) in err
    reasons = [pair["stem"] for pair in json.loads((tmp_path / "output/run.json").read_text())["pairs"]]
    assert EVIL in reasons  # the record has the names as they are


def test_words_of_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 404 \x1b[2J\x9b31m gone\r\nConnection: close\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/prior.pt"
        assert checkpoint_main(["download", url, "--to", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "404" in error and r"\x1b[2J" in error and not control_characters(error)


def test_names_in_what_verify_says(tmp_path: Path, capsys: Any):
    (tmp_path / f"{EVIL}.pt").write_bytes(b"")
    assert checkpoint_main(["verify", str(tmp_path / f"{EVIL}.pt")]) == 1
    out, err = capsys.readouterr()
    assert not control_characters(out + err) and len(err.splitlines()) == 1


def test_a_message_has_an_end(capsys: Any):
    get_logger().error("x" * 1_000_000)
    error = capsys.readouterr().err
    assert len(error) < 5000 and "1,000,000 characters" in error


# redirection: (exit status, words on standard output, words on standard error)
REDIRECTED = {
    "2>&-": (0, "1 fused", ""),
    "2>/dev/full": (0, "1 fused", ""),
    ">/dev/full": (1, "", "the summary cannot be printed (No space left on device)"),
    ">&-": (1, "", "the summary cannot be printed"),
    "| true": (1, "", "the summary cannot be printed (Broken pipe)"),
    ">&- 2>&-": (1, "", ""),
    "<&-": (0, "1 fused", "INFO"),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("where", REDIRECTED)
def test_nobody_listens(where: str, tmp_path: Path, tiny_prior: PriorFiles):
    """The images are those of any other run, and the exit status says what happened."""
    make_pair(tmp_path / "input", "a")
    command = [sys.executable, str(Path(sample.__file__)), *arguments(tmp_path, tiny_prior)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = ["bash", "-c", f'set -o pipefail; "$@" {where}', "bash", *command]
    done = subprocess.run(line, capture_output=True, text=True, env=env, check=False)
    status, out, err = REDIRECTED[where]
    assert done.returncode == status, done.stderr
    assert out in done.stdout and err in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    with Image.open(tmp_path / "output/recon/a.png") as image:
        image.load()
    assert json.loads((tmp_path / "output/run.json").read_text())["counts"]["done"] == 1


@pytest.mark.parametrize(
    "trouble, status",
    [("nothing", 0), ("a bad pair", 1), ("a bad flag", 2), ("no folder", 2), ("interrupted", 130)],
)
def test_exit_statuses(
    trouble: str, status: int, tmp_path: Path, tiny_prior: PriorFiles, monkeypatch: pytest.MonkeyPatch
):
    """Those of the table in docs/running.md; what a full output gives is tested above."""
    make_pair(tmp_path / "input", "a")
    make_pair(tmp_path / "input", "b")
    line = arguments(tmp_path, tiny_prior)
    if trouble == "a bad pair":
        (tmp_path / "input/ir/a.png").write_bytes(b"")
    elif trouble == "a bad flag":
        line += ["--device", "abacus"]
    elif trouble == "no folder":
        line += ["--ir", str(tmp_path / "nowhere")]
    elif trouble == "interrupted":

        def interrupt(*_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(fusing, "fuse", interrupt)
    assert sample.main(line) == status
