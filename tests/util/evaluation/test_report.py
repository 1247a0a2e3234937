"""The report: self-contained HTML, and, where there is Chromium, what it does under the user's hands."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evaluate as command
from tests.conftest import make_pair
from tests.util.evaluation.test_metrics import picture
from util.evaluation.folders import Result, evaluate_all, find_triples
from util.evaluation.report import write_report
from util.evaluation.tables import Block, Row, Table

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
STEMS = ["a<b", "b&c", "d"]
METRICS = ["EN", "MSE", "VIF", "SD"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of one data set, three pairs, of which two are shown, and two methods."""
    folder = tmp_path_factory.mktemp("report")
    results = []
    for number, label in enumerate(("first (no prior)", "second")):
        for stem in STEMS:
            make_pair(folder, stem, (70, 100), "vi")
            (folder / label / "recon").mkdir(parents=True, exist_ok=True)
            image = picture(5 * number + STEMS.index(stem), (64, 96))
            Image.fromarray(image).save(folder / label / f"recon/{stem}.png")
        triples, problems = find_triples(folder / label / "recon", folder / "ir", folder / "vi")
        evaluation = evaluate_all(triples, problems, METRICS, "ddfm", 1)
        results.append(Result("MRI-CT", label, evaluation, triples))
    evaluation = results[0].evaluation
    evaluation.images["d"]["VIF"] = float("inf")
    row = Row("first (no prior)", "here", evaluation.images["b&c"], "3")
    table = Table(3, "Medical", METRICS, [Block("MRI-CT", [row])], "ddfm", ["see <there>"])
    write_report(folder / "report.html", [table], results, pairs=2, max_side=50)
    return folder / "report.html"


class Parser(HTMLParser):
    """Collects tags, and checks that they close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_is_whole_and_holds_everything_itself(page: Path):
    text = page.read_text()
    parser = Parser()
    parser.feed(text)
    assert not parser.open and "{{" not in text
    for name, attributes in parser.tags:
        assert name not in ("link", "iframe", "object")
        for key in ("src", "href", "xlink:href"):
            assert (attributes.get(key) or "#").startswith(("data:image/webp;base64,", "#"))
    ids = [attributes["id"] for _, attributes in parser.tags if "id" in attributes]
    links = [attributes["href"] for attributes in parser.named("a")]
    assert {str(link)[1:] for link in links} <= set(ids)
    assert "a&lt;b" in text and "b&amp;c" in text and "see &lt;there&gt;" in text
    assert "<svg" in text and "#010203" not in text


def test_images_are_scaled_down_to_the_side_asked_for(page: Path):
    parser = Parser()
    parser.feed(page.read_text())
    images = parser.named("img")
    assert len(images) == 2 * (2 + 2)  # two pairs, two sources and two results each
    for attributes in images:
        content = base64.b64decode(str(attributes["src"]).partition(",")[2])
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (50, 33) == (int(attributes["width"] or 0), int(attributes["height"] or 0))
    assert {attributes["class"] for attributes in images} == {"fused", "ir", "vi"}
    assert all(attributes["alt"] for attributes in images)
    assert [attributes.get("hidden", "shown") for attributes in images[:2]] == ["shown", None]


def test_a_folder_without_table_has_a_summary(tmp_path: Path):
    make_pair(tmp_path, "x")
    (tmp_path / "night/recon").mkdir(parents=True)
    Image.fromarray(picture(1, (64, 64))).save(tmp_path / "night/recon/x.png")
    line = [part for side in ("ir", "vi") for part in (f"--{side}", str(tmp_path / side))]
    line += ["--fused", str(tmp_path / "night/recon"), "--report", str(tmp_path / "r.html")]
    assert command.main([*line, "--metrics", "EN,SD"]) == 0
    text = (tmp_path / "r.html").read_text()
    assert "night, fused" in text and "±" in text and re.search(r"1 fused image of 1 data set", text)
    assert command.main([*line, "--stems", "nobody"]) == 1


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    from selenium.webdriver import Chrome
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(CHROMIUM)
    profile = tmp_path_factory.mktemp("chromium")
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "window-size=1200,900",
        f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Iterator[Any]:
    """The page in Chromium; whatever a test does there, the console must stay silent."""
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def column(browser: Any, index: int) -> list[str]:
    rows = browser.find_elements("css selector", ".sortable tbody tr")
    return [row.find_elements("css selector", "th, td")[index].text for row in rows]


def state(browser: Any) -> dict[str, Any]:
    """Positions of the first card's dividers and sliders, in percent of the width."""
    return browser.execute_script(
        """const card = document.querySelector(".card"), stage = card.querySelector(".stage");
        const left = side => { const line = stage.querySelector(".line." + side).getBoundingClientRect();
          const box = stage.getBoundingClientRect();
          return Math.round(100 * (line.left + 1 - box.left) / box.width); };
        return {a: left("a"), b: left("b"), sliders: [...card.querySelectorAll("input")].map(i => +i.value),
          clip: getComputedStyle(card.querySelector("img.ir")).clipPath,
          tags: [...card.querySelectorAll(".tag:not([hidden])")].map(t => t.textContent)}"""
    )


def test_headings_sort(opened: Any):
    buttons = opened.find_elements("css selector", ".sortable thead button")
    assert [button.text for button in buttons] == ["image", "fused by", *METRICS]
    before = column(opened, 2)
    buttons[2].click()
    assert column(opened, 2) == sorted(before, key=float, reverse=True)
    heads = opened.find_elements("css selector", ".sortable thead th")
    sorts = [head.get_attribute("aria-sort") for head in heads]
    assert sorts == ["none", "none", "descending", "none", "none", "none"]
    buttons[2].click()
    assert column(opened, 2) == sorted(before, key=float)
    buttons[4].click()
    assert column(opened, 4)[-1] == "-"  # no value is last in both directions
    buttons[4].click()
    assert column(opened, 4)[-1] == "-"
    buttons[0].click()
    assert column(opened, 0) == sorted(STEMS * 2)


def test_headings_sort_by_keyboard(opened: Any):
    from selenium.webdriver.common.keys import Keys

    button = opened.find_elements("css selector", ".sortable thead button")[3]
    button.send_keys(Keys.ENTER)
    values = [float(value) for value in column(opened, 3)]
    assert values == sorted(values, reverse=True)


def test_sliders_move_by_keyboard_and_push_each_other(opened: Any):
    from selenium.webdriver.common.keys import Keys

    first, second = opened.find_elements("css selector", ".card:first-child .sliders input")
    assert first.get_attribute("aria-label") == "a<b: CT up to"
    assert state(opened)["tags"] == ["CT", "fused", "MRI"]
    first.send_keys(Keys.ARROW_RIGHT)
    assert state(opened)["sliders"] == [34, 67] and state(opened)["a"] == 34
    first.send_keys(Keys.END)
    now = state(opened)
    assert now["sliders"] == [100, 100] and (now["a"], now["b"]) == (100, 100) and now["tags"] == ["CT"]
    second.send_keys(Keys.HOME)
    now = state(opened)
    assert now["sliders"] == [0, 0] and now["tags"] == ["MRI"]


def test_dividers_follow_the_mouse(opened: Any):
    from selenium.webdriver.common.action_chains import ActionChains

    stage = opened.find_element("css selector", ".card .stage")
    width = stage.size["width"]
    chain = ActionChains(opened).move_to_element_with_offset(stage, round(-0.17 * width), 0)
    chain.click_and_hold().move_by_offset(round(-0.13 * width), 3).release().perform()
    now = state(opened)
    assert abs(now["a"] - 20) <= 1 and now["b"] == 67
    assert now["sliders"][0] == now["a"] and now["clip"].startswith("inset(0px")


def test_buttons_show_one_image_or_all(opened: Any):
    buttons = {b.text: b for b in opened.find_elements("css selector", ".card:first-child .presets button")}
    for name, sliders in (("CT", [100, 100]), ("fused", [0, 100]), ("MRI", [0, 0]), ("all", [33, 67])):
        buttons[name].click()
        assert state(opened)["sliders"] == sliders


def test_the_method_is_chosen_for_all_pairs(opened: Any):
    def visible(what: str) -> list[str]:
        found = opened.find_elements("css selector", f".card {what}[data-method]")
        return [part.get_attribute("data-method") for part in found if part.is_displayed()]

    assert visible("img") == visible(".scores") == ["0", "0"]
    opened.find_elements("css selector", ".methods input")[1].click()
    assert visible("img") == visible(".scores") == ["1", "1"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_dark_and_narrow(opened: Any, scheme: str):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        screen = np.asarray(Image.open(io.BytesIO(opened.get_screenshot_as_png())).convert("L"))
        assert (np.median(screen) > 200) == (scheme == "light")
        assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
