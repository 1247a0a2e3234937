"""Downloads over connections that break, from servers that cannot, may not or will not, onto disks that are full."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.file_server import FileServer, serving
from util.checkpoint import download as download_module
from util.checkpoint import known
from util.checkpoint.__main__ import ROOT, main
from util.checkpoint.remote import is_remote

CONTENT = random.Random(0).randbytes(500_000)
Fetch = Callable[..., int]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setattr(download_module, "WAITS", (0, 0, 0, 0))
    with serving(CONTENT) as running:
        yield running


@pytest.fixture
def fetch(server: FileServer, tmp_path: Path) -> Fetch:
    """Runs ``python -m util.checkpoint download`` in this process."""

    def run(url: str = server.url, *more: str) -> int:
        return main(["download", url, "--to", str(tmp_path / "models"), *more])

    return run


def files(tmp_path: Path) -> dict[str, int]:
    """Names and sizes of what lies in models/, the notes on where things came from left out."""
    found = (tmp_path / "models").iterdir()
    return {path.name: path.stat().st_size for path in found if path.suffix != ".json"}


def whole(tmp_path: Path, content: bytes = CONTENT, name: str = "prior.pt") -> bool:
    return files(tmp_path) == {name: len(content)} and (tmp_path / "models" / name).read_bytes() == content


def test_whole_file_at_once(fetch: Fetch, server: FileServer, tmp_path: Path, capsys: Any):
    assert fetch() == 0
    assert whole(tmp_path)
    error = capsys.readouterr().err
    assert "500,000 bytes" in error and hashlib.sha256(CONTENT).hexdigest() in error
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "models/prior.pt").stat().st_mode & 0o777 == 0o666 & ~mask


def test_connection_that_breaks_again_and_again(fetch: Fetch, server: FileServer, tmp_path: Path):
    server.drops = [250_000, 100_000, 1, 100_000]
    assert fetch() == 0
    assert whole(tmp_path)
    assert server.ranges_asked == [0, 250_000, 350_000, 350_001, 450_001]
    assert server.served == len(CONTENT)  # not one byte twice


def test_server_that_cannot_begin_in_the_middle(
    fetch: Fetch, server: FileServer, tmp_path: Path, capsys: Any
):
    server.ranges, server.drops = False, [250_000, 300_000]
    assert fetch() == 0
    assert whole(tmp_path)
    assert "starting over" in capsys.readouterr().err


def test_giving_up_keeps_what_came(fetch: Fetch, server: FileServer, tmp_path: Path, capsys: Any):
    server.drops = [200_000] + [0] * 20
    assert fetch() == 1
    assert files(tmp_path) == {"prior.pt.part": 200_000}
    assert "the first 200,000 bytes are kept" in capsys.readouterr().err
    assert len(server.ranges_asked) == 5
    server.drops = []
    assert fetch() == 0
    assert whole(tmp_path) and server.served == len(CONTENT)


def test_no_progress_without_ranges_ends(fetch: Fetch, server: FileServer, tmp_path: Path):
    server.ranges, server.drops = False, [200_000] * 50
    assert fetch() == 1
    assert files(tmp_path) == {"prior.pt.part": 200_000}


# what a server tells of a file, and the size of the file that takes its place
CHANGES = {
    "If-Range": ({}, 500_000),
    "ETag only": ({"honours_if_range": False}, 500_000),
    "date": ({"version_header": "Last-Modified", "etag": "Sat, 01 Jan 2022 00:00:00 GMT"}, 500_000),
    "size only": ({"etag": ""}, 600_000),
    "shorter": ({"etag": ""}, 100_000),
}


@pytest.mark.parametrize("way", CHANGES)
@pytest.mark.parametrize("changed", [True, False])
def test_file_that_changed_between_attempts(
    fetch: Fetch, server: FileServer, tmp_path: Path, way: str, changed: bool
):
    settings, size = CHANGES[way]
    for name, value in settings.items():
        setattr(server, name, value)
    server.drops = [300_000] + [0] * 20
    assert fetch() == 1
    server.drops = [1]
    server.served = 0
    if changed:
        server.content = random.Random(1).randbytes(size)
        server.etag = server.etag and server.etag.replace("1", "2")
    assert fetch() == 0
    assert whole(tmp_path, server.content)
    assert changed or server.served == 200_000


def test_stopped_and_killed_processes_leave_a_part_to_go_on_from(server: FileServer, tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "util.checkpoint",
        "download",
        server.url,
        "--to",
        str(tmp_path / "models"),
    ]
    server.stall = True
    for number, (name, status) in enumerate(((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)), 1):
        server.drops = [150_000]
        server.stalled.clear()
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert server.stalled.wait(60)
        part = tmp_path / "models/prior.pt.part"
        for _ in range(500):
            if part.stat().st_size == 150_000 * number:
                break
            time.sleep(0.01)
        process.send_signal(name)
        _, error = process.communicate(timeout=60)
        assert process.returncode == status
        assert "Traceback" not in error
        assert files(tmp_path) == {"prior.pt.part": 150_000 * number}
    assert main(command[3:]) == 0
    assert whole(tmp_path) and server.served == len(CONTENT)


def test_interrupted_in_the_last_moment(fetch: Fetch, server: FileServer, tmp_path: Path):
    """All bytes are there, only the name is not yet: nothing is fetched again."""
    assert fetch() == 0
    (tmp_path / "models/prior.pt").rename(tmp_path / "models/prior.pt.part")
    assert fetch() == 0
    assert whole(tmp_path) and len(server.paths) == 1


def test_fetched_once(fetch: Fetch, server: FileServer, tmp_path: Path, capsys: Any):
    assert fetch() == 0 and fetch() == 0
    assert len(server.paths) == 1
    assert "was there already" in capsys.readouterr().err
    assert fetch(server.root + "/another/prior.pt") == 1  # same name, another file
    assert "came from" in capsys.readouterr().err
    assert whole(tmp_path)


def test_part_of_another_address_is_not_continued(fetch: Fetch, server: FileServer, tmp_path: Path):
    server.drops = [300_000] + [0] * 20
    assert fetch(server.root + "/another/prior.pt") == 1
    server.drops = []
    server.content = CONTENT[::-1]
    assert fetch() == 0
    assert whole(tmp_path, CONTENT[::-1])


def test_access_keys_are_not_kept(fetch: Fetch, server: FileServer, tmp_path: Path, capsys: Any):
    assert fetch(server.url + "?sig=secret") == 0
    assert server.paths == ["/files/prior.pt?sig=secret"]
    note = (tmp_path / "models/prior.pt.source.json").read_text()
    assert json.loads(note)["url"] == server.url and "secret" not in note + capsys.readouterr().err


@pytest.mark.parametrize(
    ("statuses", "result", "words"),
    [
        ([404], 1, "there is no such file; check the address"),
        ([403], 1, "the file is not public"),
        ([410], 1, "not there any more"),
        ([418], 1, "answers 418"),
        ([503, 429, 500], 0, "going on"),
        ([503] * 9, 1, "answers 503"),
    ],
)
def test_status(
    fetch: Fetch,
    server: FileServer,
    tmp_path: Path,
    capsys: Any,
    statuses: list[int],
    result: int,
    words: str,
):
    server.statuses = statuses
    assert fetch() == result
    error = capsys.readouterr().err
    assert words in error and server.url in error
    assert whole(tmp_path) if result == 0 else list((tmp_path / "models").iterdir()) == []


def test_web_page_instead_of_the_file(fetch: Fetch, server: FileServer, tmp_path: Path, capsys: Any):
    server.kind = "text/html; charset=utf-8"
    assert fetch() == 1
    assert "is a web page, not a file" in capsys.readouterr().err
    assert files(tmp_path) == {}


def test_nobody_listens(fetch: Fetch, tmp_path: Path, capsys: Any):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert fetch(f"http://127.0.0.1:{port}/prior.pt") == 1
    assert "cannot be reached" in capsys.readouterr().err and files(tmp_path) == {}


@pytest.mark.parametrize("reason", [socket.gaierror(-2, "Name or service not known"), TimeoutError()])
def test_no_network(fetch: Fetch, monkeypatch: pytest.MonkeyPatch, capsys: Any, reason: OSError):
    def fail(*args: object, **kwargs: object) -> None:
        raise reason

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert fetch("https://somewhere.example/prior.pt") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "somewhere.example cannot be reached" in lines[0]


def test_silent_server(fetch: Fetch, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr("util.checkpoint.remote.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/prior.pt") == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "no answer within" in lines[0]  # one timeout, not one for each attempt


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/prior.pt", "known here"),
        ("prior.pt", "is no address"),
        ("https://host/", "does not end with the name of a file"),
        ("https://host/..", "does not end with the name of a file"),
        ("https://host/a%5Cb.pt", "does not end with the name of a file"),
        ("http://host:none/prior.pt", "no valid address"),
        ("http://ho st/prior.pt", "no valid address"),
    ],
)
def test_bad_address(fetch: Fetch, capsys: Any, url: str, words: str):
    assert fetch(url) == 1
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error


def test_local_paths_are_no_addresses():
    assert not any(is_remote(path) for path in ("models/a.pt", "/a/b.pt", "C:\\a.pt", "a:b.pt"))


def test_known_file_is_checked(
    fetch: Fetch, server: FileServer, tmp_path: Path, monkeypatch: Any, capsys: Any
):
    url = f"{server.root}/{known.OFFICIAL.name}"
    published = dataclasses.replace(
        known.OFFICIAL, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(), url=url
    )
    for module in ("known", "__main__"):
        monkeypatch.setattr(f"util.checkpoint.{module}.OFFICIAL", published)
    server.content = CONTENT[:-1] + b"x"
    assert fetch(url) == 1
    assert "thrown away" in capsys.readouterr().err and list((tmp_path / "models").iterdir()) == []
    server.content = CONTENT + b"more"
    assert fetch(url) == 1
    assert "another file" in capsys.readouterr().err and list((tmp_path / "models").iterdir()) == []
    server.content = CONTENT
    assert main(["download", "--to", str(tmp_path / "models")]) == 0  # it is what no address means
    assert whole(tmp_path, name=published.name)
    assert "this is the official prior" in capsys.readouterr().err
    (tmp_path / "models" / published.name).write_bytes(b"of my own")
    assert fetch(url) == 1
    assert "is not the published file" in capsys.readouterr().err
    assert (tmp_path / "models" / published.name).read_bytes() == b"of my own"


def test_disk_full_while_writing(fetch: Fetch, server: FileServer, tmp_path: Path, capsys: Any):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        assert fetch() == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path) == {"prior.pt.part": 300_000}
    error = capsys.readouterr().err
    assert "cannot be written" in error and "make room" in error and "Traceback" not in error
    assert fetch() == 0
    assert whole(tmp_path) and server.ranges_asked == [0, 300_000]


def test_disk_too_small_from_the_start(fetch: Fetch, tmp_path: Path, monkeypatch: Any, capsys: Any):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9, 0, 499_999))
    assert fetch() == 1
    assert "500,000 more bytes are needed, but only 499,999 are free" in capsys.readouterr().err
    assert files(tmp_path) == {}


def test_folder_that_cannot_be_made(fetch: Fetch, tmp_path: Path, capsys: Any):
    (tmp_path / "models").write_bytes(b"a file")
    assert fetch() == 1
    assert "cannot be written" in capsys.readouterr().err


def test_two_at_once(fetch: Fetch, server: FileServer, tmp_path: Path, capsys: Any):
    (tmp_path / "models").mkdir()
    with (tmp_path / "models/prior.pt.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert fetch() == 1
    assert "by another process" in capsys.readouterr().err and server.paths == []
    assert fetch() == 0 and whole(tmp_path)


def test_interruption_by_the_keyboard(fetch: Fetch, server: FileServer, tmp_path: Path, monkeypatch: Any):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    server.drops = [123_456]
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", interrupt)
        assert fetch() == 130
    assert files(tmp_path) == {"prior.pt.part": 123_456}
    assert fetch() == 0
    assert whole(tmp_path) and server.ranges_asked == [0, 123_456]
