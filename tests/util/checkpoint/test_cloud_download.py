"""``az://`` and ``gs://`` through blobfile, whose requests are led to a local server."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.file_server import FileServer, serving
from util.checkpoint import download as download_module
from util.checkpoint.__main__ import main

blobfile_common = pytest.importorskip("blobfile._common")
CONTENT = random.Random(2).randbytes(300_000)
AZURE, GOOGLE = "https://account.blob.core.windows.net", "https://storage.googleapis.com"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FileServer]:
    """Both clouds on this machine, for somebody without any credentials."""
    for name in ("AZURE_STORAGE_KEY", "AZURE_CLIENT_ID", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setattr(download_module, "WAITS", (0, 0, 0, 0))
    with serving(CONTENT) as server:

        class Redirected(urllib3.PoolManager):
            def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
                for host in (AZURE, GOOGLE):
                    url = url.replace(host, server.root)
                return super().request(method, url, *args, **kwargs)

        pool = Redirected()
        monkeypatch.setattr(blobfile_common.global_pool_director, "get_http_pool", lambda: pool)
        for module in ("_azure", "_gcp"):
            monkeypatch.setattr(f"blobfile.{module}.access_token_manager._tokens", {})
            monkeypatch.setattr(f"blobfile.{module}.access_token_manager._expirations", {})
        date = "Sat, 01 Jan 2022 00:00:00 GMT"
        server.headers = {"Last-Modified": date, "x-ms-creation-time": date}
        server.pages = {"comp=list": b""}
        yield server


@pytest.fixture(params=["az://account/container/prior.pt", "gs://bucket/folder/prior.pt"])
def url(request: pytest.FixtureRequest, cloud: FileServer) -> str:
    if request.param.startswith("gs"):
        date = "2022-01-01T00:00:00.000Z"
        stat = {"size": len(CONTENT), "updated": date, "timeCreated": date, "generation": "1"}
        cloud.stat = json.dumps(stat).encode()
    return request.param


def test_public_file(cloud: FileServer, url: str, tmp_path: Path):
    assert main(["download", url, "--to", str(tmp_path / "models")]) == 0
    assert (tmp_path / "models/prior.pt").read_bytes() == CONTENT
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [
        "prior.pt",
        "prior.pt.source.json",
    ]
    assert not (tmp_path / ".blobfile").exists()  # no tokens are kept


def test_going_on(cloud: FileServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert main(["download", url, "--to", str(tmp_path / "models")]) == 0
    part = tmp_path / "models/prior.pt.part"
    (tmp_path / "models/prior.pt").unlink()
    part.write_bytes(CONTENT[:200_000])
    cloud.ranges_asked.clear()
    assert main(["download", url, "--to", str(tmp_path / "models")]) == 0
    assert (tmp_path / "models/prior.pt").read_bytes() == CONTENT
    assert [start for start in cloud.ranges_asked if start] == [200_000]


def test_changed_file_is_fetched_anew(cloud: FileServer, url: str, tmp_path: Path):
    assert main(["download", url, "--to", str(tmp_path / "models")]) == 0
    (tmp_path / "models/prior.pt").rename(tmp_path / "models/prior.pt.part")
    (tmp_path / "models/prior.pt.part").write_bytes(CONTENT[:200_000])
    cloud.content = CONTENT[::-1]
    cloud.etag = '"v2"'
    cloud.stat = cloud.stat.replace(b'"generation": "1"', b'"generation": "2"')
    assert main(["download", url, "--to", str(tmp_path / "models")]) == 0
    assert (tmp_path / "models/prior.pt").read_bytes() == CONTENT[::-1]


def test_missing_file(cloud: FileServer, url: str, tmp_path: Path, capsys: Any):
    cloud.statuses = [404]
    cloud.stat = b""
    assert main(["download", url, "--to", str(tmp_path / "models")]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert list((tmp_path / "models").iterdir()) == []


def test_container_that_is_not_public(cloud: FileServer, tmp_path: Path, capsys: Any):
    cloud.pages, cloud.statuses = {}, [404]
    assert main(["download", "az://account/container/prior.pt", "--to", str(tmp_path / "models")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "Could not find any credentials" in lines[0] and "https://" in lines[0]


def test_no_network(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(blobfile_common.global_pool_director, "get_http_pool", urllib3.PoolManager)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert main(["download", url, "--to", str(tmp_path / "models")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and url in lines[0]
