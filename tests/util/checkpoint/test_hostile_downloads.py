"""Servers that send something else, without end, or next to nothing: refused within limits, and nothing stays."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PriorFiles
from tests.util.checkpoint.test_hostile_checkpoints import meta_model
from util.checkpoint import CheckpointError
from util.checkpoint import download as download_module
from util.checkpoint.__main__ import main
from util.checkpoint.loading import load_prior
from util.checkpoint.origin import origin_path, part_path

BODY = bytes(range(256)) * 400
Speak = Callable[[socket.socket, bytes], None]


@contextmanager
def speaking(speak: Speak) -> Iterator[str]:
    """A server that answers every connection with ``speak(connection, request)``; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    speak(connection, connection.recv(65536))

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/prior.pt"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setattr(download_module, "WAITS", (0, 0, 0, 0))


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *lines, "", ""]).encode()


def reply(*lines: str, body: bytes = BODY, status: str = "200 OK") -> Speak:
    return lambda connection, request: connection.sendall(head(*lines, status=status) + body)


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def endless(connection: socket.socket, request: bytes) -> None:
    connection.sendall(head("Transfer-Encoding: chunked"))
    while True:
        connection.sendall(chunks(bytes(1 << 16)))


def dripping(connection: socket.socket, request: bytes) -> None:
    connection.sendall(head("Content-Length: 1000000"))
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


# name: (server, words of the error)
REFUSED: dict[str, tuple[Speak, str]] = {
    "empty, no length": (reply(body=b""), "neither how long the file is"),
    "cut, no length": (reply(), "neither how long the file is"),
    "empty": (reply("Content-Length: 0", body=b""), "is empty"),
    "empty chunks": (reply("Transfer-Encoding: chunked", body=b"0\r\n\r\n"), "is empty"),
    "cut chunks": (reply("Transfer-Encoding: chunked", body=chunks(BODY)), "prior.pt"),
    "another part": (
        reply("Content-Range: bytes 100-102399/102400", body=BODY[100:], status="206 Partial Content"),
        "begins at byte 100",
    ),
    "no length of the whole": (
        reply("Content-Range: bytes 0-99/*", body=BODY[:100], status="206 Partial Content"),
        "neither how long the file is",
    ),
    "gzip": (reply("Content-Encoding: gzip", f"Content-Length: {len(BODY)}"), "encoded as gzip"),
    "endless": (endless, "more than 1,000,000 bytes"),
    "a byte now and then": (dripping, "less than 1,000 bytes a second"),
    "a byte a connection": (reply("Content-Length: 1000000", body=b"x"), "the connection ended"),
    "too large for any disk": (reply(f"Content-Length: {10**18}"), "make room"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_within_limits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(download_module, "MOST_BYTES", 1_000_000)
    monkeypatch.setattr(download_module, "PATIENCE", 0.3)
    speak, words = REFUSED[name]
    started = time.monotonic()
    with speaking(speak) as url:
        assert main(["download", url, "--to", str(tmp_path)]) == 1
    assert time.monotonic() - started < 120
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error
    assert not (tmp_path / "prior.pt").exists()


def test_chunks_that_come_to_their_end_are_whole(tmp_path: Path):
    body = chunks(BODY[:70_000], BODY[70_000:]) + chunks(b"")
    with speaking(reply("Transfer-Encoding: chunked", body=body)) as url:
        assert main(["download", url, "--to", str(tmp_path)]) == 0
    assert (tmp_path / "prior.pt").read_bytes() == BODY


def test_what_is_bad_in_the_cache_is_named_with_its_origin(tiny_prior: PriorFiles, tmp_path: Path):
    path = tmp_path / "prior.pt"
    path.write_bytes(tiny_prior.checkpoint.read_bytes()[:-20_000])
    origin_path(path).write_text('{"url": "http://host/prior.pt", "size": null, "version": ""}')
    with pytest.raises(
        CheckpointError, match=rf"damaged.* downloaded from http://host/prior\.pt: delete {path}"
    ):
        load_prior(meta_model(), path, "c.yaml")


@pytest.mark.parametrize("note", ['{"url": 1, "size": "x", "version": 2}', "[" * 100_000, "null", b"\xff"])
def test_a_damaged_note_is_no_note(note: str | bytes, tmp_path: Path):
    origin_path(tmp_path / "prior.pt").write_bytes(note if isinstance(note, bytes) else note.encode())
    part_path(tmp_path / "prior.pt").write_bytes(b"something else")
    with speaking(reply(f"Content-Length: {len(BODY)}")) as url:
        assert main(["download", url, "--to", str(tmp_path)]) == 0
    assert (tmp_path / "prior.pt").read_bytes() == BODY


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_something_in_the_place_of_the_part(kind: str, tmp_path: Path, capsys: Any):
    part = part_path(tmp_path / "prior.pt")
    os.mkfifo(part) if kind == "pipe" else part.mkdir()
    with speaking(reply(f"Content-Length: {len(BODY)}")) as url:
        assert main(["download", url, "--to", str(tmp_path)]) == 1
    assert f"{part} is no file that can be continued: remove it" in capsys.readouterr().err
