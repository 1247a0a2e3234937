"""The page in Chromium, from end to end: a server of its own, and visitors with files."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.conftest import make_pair
from util.images.png import read_png_text

pytest.importorskip("gradio", reason="needs gradio: pip install -r requirements-demo.txt")

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 120  # seconds, of a machine that has other things to do

# Python runs this before anything else: the server may talk to this machine alone
WATCH = """
import os, socket
_connect = socket.socket.connect
def connect(self, address):
    host = address[0] if isinstance(address, tuple) else "local"
    if host not in ("127.0.0.1", "::1", "localhost", "local", "0.0.0.0"):
        with open(os.environ["WATCHED"], "a") as stream:
            stream.write(f"{address}\\n")
        raise OSError("the outside")
    return _connect(self, address)
socket.socket.connect = connect
_lookup = socket.getaddrinfo
def lookup(host, *rest, **more):
    if host not in ("127.0.0.1", "::1", "localhost", "0.0.0.0", None, ""):
        with open(os.environ["WATCHED"], "a") as stream:
            stream.write(f"{host}\\n")
        raise socket.gaierror("the outside")
    return _lookup(host, *rest, **more)
socket.getaddrinfo = lookup
"""


@dataclass
class Server:
    url: str
    process: subprocess.Popen[str]
    temporary: Path
    outside: Path


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``python app.py`` with low limits, on a machine from which nothing outside can be reached."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "watch").mkdir()
    (folder / "tmp").mkdir()
    (folder / "watch/sitecustomize.py").write_text(WATCH)
    port = free_port()
    environment = os.environ | {
        "PYTHONPATH": str(folder / "watch"), "WATCHED": str(folder / "outside"), "TMPDIR": str(folder / "tmp"),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "app.py", "--port", str(port), "--max_pixels", "70000", "--max_megabytes", "1"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "the page is at" in line:
            break
    else:
        pytest.fail("".join(said))
    yield Server(f"http://127.0.0.1:{port}/", process, folder / "tmp", folder / "outside")
    process.send_signal(signal.SIGTERM)
    try:
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in rest
    assert not list((folder / "tmp").glob("ddfm-page-*"))  # nothing of any visitor is left
    assert not (folder / "outside").exists()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Visitor]:
    """A visitor who has just come. Whatever happens, the console stays silent and nothing outside is asked."""
    browser.get_log("performance")
    visitor = Visitor(browser, server)
    yield visitor
    asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in asked if e["method"] == "Network.requestWillBeSent"]
    assert urls and all(url.startswith((server.url, "data:", "blob:")) for url in urls)
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


class Visitor:
    def __init__(self, chrome: Any, server: Server) -> None:
        self.chrome = chrome
        chrome.get(server.url)
        self.window = chrome.current_window_handle
        self.wait("#go")

    def __enter__(self) -> Visitor:
        self.chrome.switch_to.window(self.window)
        return self

    def __exit__(self, *_: object) -> None:
        return

    def wait(self, css: str) -> Any:
        """The element, once it can be seen."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = self.all(css)
            if found and found[0].is_displayed():
                return found[0]
            time.sleep(0.1)
        return pytest.fail(f"{css} does not appear; the page says: {self.text()}")

    def all(self, css: str) -> list[Any]:
        return self.chrome.find_elements("css selector", css)

    def text(self) -> str:
        return self.chrome.find_element("css selector", "body").text

    def html(self) -> str:
        return self.chrome.find_element("css selector", "body").get_attribute("innerHTML")

    def upload(self, place: str, path: Path) -> None:
        self.all(f"#{place} input[type=file]")[0].send_keys(str(path))
        deadline = time.monotonic() + PATIENCE
        while path.stem[:8] not in self.html() and time.monotonic() < deadline:
            time.sleep(0.1)

    def choose(self, method: str) -> None:
        for choice in self.all("#method input"):
            if choice.get_attribute("value") == method:
                choice.click()

    def fuse(self) -> None:
        self.wait("#go:enabled").click()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    make_pair(tmp_path, "scene", (96, 128), "vi")
    return tmp_path


@pytest.mark.slow
def test_upload_fuse_compare_and_take_home(page: Visitor, files: Path):
    folder = files / "downloads"
    page.chrome.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)}
    )
    with Image.open(files / "ir/scene.png") as image:  # sixteen bits, of which eight would be black
        tifffile.imwrite(files / "thermal.tif", np.asarray(image, dtype=np.uint16) + 30_000)
    page.upload("first", files / "thermal.tif")
    assert "thermal.tif" in page.wait(".ddfm-chosen").text
    page.upload("second", files / "vi/scene.png")
    page.wait(".ddfm-chosen figure:nth-child(2)")
    page.choose("local_fast")
    page.fuse()
    page.wait(".ddfm-result")
    page.wait(".ddfm-scores")
    assert len(page.all(".ddfm-scores tbody tr")) == 10
    names = [caption.text.split("\n")[0] for caption in page.all("#details figcaption")]
    assert names == ["Fused, colour", "Fused, grey", "First image", "Second image"]

    def seen() -> dict[str, str]:
        return page.chrome.execute_script(
            """const s = document.querySelector(".ddfm-stage"), box = s.getBoundingClientRect();
            const line = s.querySelector(".ddfm-line").getBoundingClientRect(), of = side =>
              s.querySelector("img." + side).dataset.key;
            return {left: of("left"), right: of("right"),
              cut: Math.round(100 * (line.left + 1 - box.left) / box.width),
              whole: [...s.querySelectorAll("img")].every(i => i.complete && i.naturalWidth > 0)}"""
        )

    assert seen() == {"left": "colour", "right": "source1", "cut": 50, "whole": True}
    slider = page.all(".ddfm-cut")[0]
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    slider.send_keys(Keys.ARROW_RIGHT)
    assert seen()["cut"] == 51
    slider.send_keys(Keys.HOME)
    assert seen()["cut"] == 0
    stage = page.all(".ddfm-stage")[0]
    ActionChains(page.chrome).move_to_element_with_offset(
        stage, round(stage.size["width"] / 4), 0
    ).click().perform()
    assert abs(int(seen()["cut"]) - 75) <= 3
    page.all(".ddfm-pick")[0].send_keys("First")
    assert seen()["left"] == "source0"

    for place, name in (("png", "fused.png"), ("zip", "fusion.zip")):
        page.wait(f"#{place}").click()
        deadline = time.monotonic() + PATIENCE
        while not (folder / name).is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
    made = json.loads(read_png_text(folder / "fused.png")["ddfm"])
    assert made["preset"] == "local_fast" and [s["name"] for s in made["sources"]] == [
        "thermal.tif",
        "scene.png",
    ]
    with zipfile.ZipFile(folder / "fusion.zip") as packed, Image.open(folder / "fused.png") as image:
        assert "metrics.csv" in packed.namelist()
        with Image.open(io.BytesIO(packed.read("fused_colour.png"))) as same:
            assert np.array_equal(np.asarray(image), np.asarray(same))


@pytest.mark.slow
def test_a_sample_grows_and_can_be_stopped(page: Visitor):
    page.wait("#sample input").click()
    page.wait("ul[role=listbox] li")
    next(each for each in page.all("ul[role=listbox] li") if "PET" in each.text).click()
    page.wait(".ddfm-chosen")
    page.choose("released")
    page.fuse()
    page.wait(".ddfm-growing img")
    assert re.search(r"step \d+ of 100", page.text())
    page.wait("#stop:enabled").click()
    assert "Stopped: as you asked" in page.wait(".ddfm-error").text
    page.wait("#go:enabled")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text", "large", "sizes"])
def test_errors_are_words(page: Visitor, files: Path, name: str):
    (files / "text.png").write_text("no image")
    Image.new("L", (300, 300)).save(files / "large.png")
    make_pair(files, "sizes", (64, 64))
    page.upload("first", files / "ir/scene.png")
    page.wait(".ddfm-chosen")
    page.upload("second", files / "ir/sizes.png" if name == "sizes" else files / f"{name}.png")
    if name == "sizes":
        page.wait(".ddfm-chosen figure:nth-child(2)")
        page.fuse()
    words = {
        "text": "not a readable image",
        "large": "300 x 300 pixels",
        "sizes": "same scene at the same size",
    }[name]
    said = page.wait(".ddfm-error").text
    assert words in said and f"{name}.png" in said
    assert "Traceback" not in page.html() and "/" not in said.replace("image/", "")


@pytest.mark.slow
def test_nothing_chosen(page: Visitor):
    page.fuse()
    assert "choose a first and a second one" in page.wait(".ddfm-error").text


@pytest.mark.slow
def test_a_file_that_is_too_heavy_is_refused(page: Visitor, files: Path, server: Server):
    status, _ = post_file(server, "heavy.png", os.urandom(1_100_000))
    assert status == 413


HOSTILE = """'"><img src=x onerror="document.title='ran'">${document.title='ran'}{{x}}.png"""


@pytest.mark.slow
def test_no_name_runs(page: Visitor, files: Path):
    path = files / HOSTILE
    path.write_bytes((files / "ir/scene.png").read_bytes())
    page.all("#first input[type=file]")[0].send_keys(str(path))
    page.wait(".ddfm-chosen")
    page.upload("second", files / "vi/scene.png")
    page.wait(".ddfm-chosen figure:nth-child(2)")
    page.choose("local_fast")
    page.fuse()
    page.wait(".ddfm-scores")
    assert page.chrome.title == "DDFM: image fusion"


@pytest.mark.slow
def test_two_visitors_at_once(page: Visitor, files: Path, server: Server):
    make_pair(files, "other", (64, 160), seed=5)
    page.upload("first", files / "ir/scene.png")
    page.upload("second", files / "vi/scene.png")
    page.wait(".ddfm-chosen figure:nth-child(2)")
    page.choose("quick")
    page.fuse()
    page.chrome.switch_to.new_window("tab")
    guest = Visitor(page.chrome, server)
    guest.upload("first", files / "ir/other.png")
    guest.upload("second", files / "vi/other.png")
    guest.wait(".ddfm-chosen figure:nth-child(2)")
    guest.choose("local_fast")
    guest.fuse()
    for visitor, own, foreign, ratio in (
        (guest, "other.png", "scene.png", "160/64"),
        (page, "scene.png", "other.png", "128/96"),
    ):
        with visitor:
            visitor.wait(".ddfm-scores")
            assert own in visitor.html() and foreign not in visitor.html()
            assert f"aspect-ratio:{ratio}" in visitor.all(".ddfm-stage")[0].get_attribute("style").replace(
                " ", ""
            )
    with guest:
        guest.chrome.close()
    page.chrome.switch_to.window(page.window)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/etc/passwd", str(ROOT / "README.md"), str(ROOT / "models/compact.pt")])
def test_no_other_file_is_given_out(server: Server, path: str):
    for address in (f"gradio_api/file={path}", f"file={path}", f"gradio_api/file=..{path}"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(server.url + address)
        assert error.value.code in (403, 404)


@pytest.mark.slow
def test_a_name_is_no_path(server: Server):
    before = {path for path in server.temporary.rglob("*") if path.is_file()}
    status, answer = post_file(server, "../../../x.png", b"content")
    (written,) = {path for path in server.temporary.rglob("*") if path.is_file()} - before
    (root,) = server.temporary.glob("ddfm-page-*")
    assert status == 200 and json.loads(answer) == [str(written)]
    assert written.is_relative_to(root / "uploads") and written.name == "x.png"


def post_file(server: Server, name: str, content: bytes) -> tuple[int, str]:
    """What the server answers to an upload."""
    head = f'--cut\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    request = urllib.request.Request(
        f"{server.url}gradio_api/upload",
        head + content + b"\r\n--cut--\r\n",
        {"Content-Type": "multipart/form-data; boundary=cut"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_dark_and_narrow(page: Visitor, scheme: str):
    page.chrome.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    metrics = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.chrome.refresh()
        page.wait("#go")
        screen = np.asarray(Image.open(io.BytesIO(page.chrome.get_screenshot_as_png())).convert("L"))
        assert (np.median(screen) > 200) == (scheme == "light")
        assert page.chrome.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        page.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
