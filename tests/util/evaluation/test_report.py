"""The report: self-contained HTML, and, where there is Chromium, what it does under the user's hands."""

from __future__ import annotations

import base64
import io
import re
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
from util.evaluation.report.page import write_report
from util.evaluation.tables import Block, Row, Table

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
    assert [button.text for button in buttons] == ["image", "fused by", "EN ↑", "MSE ↓", "VIF ↑", "SD ↑"]
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


def cards(browser: Any) -> list[str]:
    """The names of the cards to be seen, in their order."""
    found = browser.find_elements("css selector", ".card")
    return [
        card.find_element("css selector", "img").get_attribute("alt")[:3]
        for card in found
        if card.is_displayed()
    ]


def test_cards_follow_the_sorting_and_the_filters(opened: Any):
    assert cards(opened) == ["a<b", "b&c"]
    opened.find_elements("css selector", ".sortable thead button")[0].click()
    opened.find_elements("css selector", ".sortable thead button")[0].click()
    assert column(opened, 0)[0] == "d" and cards(opened) == ["b&c", "a<b"]
    opened.find_element("css selector", ".filters .named").send_keys("A<")
    assert cards(opened) == ["a<b"]
    assert opened.find_element("css selector", ".filters .left").text == "2 of 6 rows"


def test_filters_by_a_metric(opened: Any):
    rows = opened.find_elements("css selector", ".sortable tbody tr")
    values = sorted(
        float(row.find_elements("css selector", "td")[1].get_attribute("data-value")) for row in rows
    )
    opened.find_element("css selector", ".filters .by option[value=EN]").click()
    opened.find_element("css selector", ".filters .from").send_keys(str((values[3] + values[4]) / 2))
    assert sum(row.is_displayed() for row in rows) == 2


def viewer(browser: Any) -> dict[str, Any]:
    """What the full window shows: the mode, the names at its foot, and where the images are."""
    return browser.execute_script(
        """const v = document.getElementById("viewer"), images = [...v.querySelectorAll(".panes img")];
        return {open: v.open, mode: v.querySelector("[aria-pressed=true]").textContent,
          names: [...v.querySelectorAll(".now:not([hidden])")].map(n => n.textContent),
          transforms: images.map(i => i.style.transform), panes: v.querySelectorAll(".pane").length,
          scale: new DOMMatrix(getComputedStyle(images[0]).transform).a,
          right: images[1].style.visibility, blend: getComputedStyle(images[1]).mixBlendMode}"""
    )


def test_the_full_window_compares_any_two(opened: Any):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    opened.find_element("css selector", ".card .open").click()
    now = viewer(opened)
    assert now["open"] and now["mode"] == "slider" and now["names"] == ["first (no prior)", "second"]
    box = opened.switch_to.active_element  # where a visitor's keys go
    assert box.get_attribute("class") == "panes slider"
    whole = now["scale"]
    box.send_keys("+")
    now = viewer(opened)
    assert (
        now["scale"] == pytest.approx(1.25 * whole, rel=1e-4) and len(set(now["transforms"])) == 1
    )  # both together
    box.send_keys("b")
    seen = set()
    WebDriverWait(opened, 10).until(lambda _: seen.add(tuple(viewer(opened)["names"])) or len(seen) == 2)
    assert seen == {("first (no prior)",), ("second",)}
    box.send_keys("d")
    assert viewer(opened)["blend"] == "difference"
    box.send_keys("p")
    now = viewer(opened)
    assert now["panes"] == 2 and len(set(now["transforms"])) == 1
    box.send_keys("1")
    assert viewer(opened)["names"][0] == "CT"
    opened.find_element("css selector", "#viewer .right-choice option:last-child").click()
    assert viewer(opened)["names"][1] == "MRI"
    box.send_keys(Keys.ARROW_RIGHT)
    assert opened.find_element("css selector", "#viewer .stem").text == "b&c"
    box.send_keys("0")
    assert viewer(opened)["scale"] == pytest.approx(whole, rel=0.01)
    opened.find_element("css selector", "#viewer .close").click()
    assert not viewer(opened)["open"]


def divider(browser: Any) -> tuple[float, float, float]:
    """Of the full window: where its line stands, where the right image begins, and the width of both."""
    return tuple(
        browser.execute_script(
            """const panes = document.querySelector("#viewer .panes"), box = panes.getBoundingClientRect();
            const line = panes.querySelector(".line").getBoundingClientRect();
            const right = panes.querySelector("img.right"), at = new DOMMatrix(getComputedStyle(right).transform);
            const cut = parseFloat(right.style.clipPath.split(" ")[3]);
            return [line.left + line.width / 2 - box.left, at.e + at.a * cut, box.width]"""
        )
    )


def test_the_divider_of_the_full_window_is_seen_where_the_images_meet(opened: Any):
    """And moves by mouse and by key, with the images where they are."""
    from selenium.webdriver import ActionChains

    opened.find_element("css selector", ".card .open").click()
    line, cut, width = divider(opened)
    assert line == pytest.approx(width / 2, abs=1) and cut == pytest.approx(line, abs=1)
    panes = opened.find_element("css selector", "#viewer .panes")
    before = viewer(opened)["transforms"]
    hold = ActionChains(opened).move_to_element(panes).click_and_hold()
    hold.move_by_offset(round(width / 5), 10).release().perform()
    line, cut, width = divider(opened)
    assert line == pytest.approx(0.7 * width, abs=2) and cut == pytest.approx(line, abs=1)
    opened.switch_to.active_element.send_keys(",,")
    line, cut, _ = divider(opened)
    assert line == pytest.approx(0.66 * width, abs=2) and cut == pytest.approx(line, abs=1)
    assert viewer(opened)["transforms"] == before
    opened.switch_to.active_element.send_keys("b")
    assert not opened.find_elements("css selector", "#viewer .line")


def test_no_column_is_cut_at_1280_pixels(opened: Any):
    opened.set_window_size(1280, 900)
    tables = opened.execute_script(
        "return [...document.querySelectorAll('.scroll')].map(box => box.scrollWidth - box.clientWidth)"
    )
    opened.set_window_size(1200, 900)
    assert max(tables) <= 0


HOSTILE = """x"><img src=x onerror="document.title='ran'"><script>document.title='ran'</script>'"""
HOSTILE += "&amp;{{BODY}} $\\frac$"


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same words wherever a name, a note or a configuration can stand."""
    folder = tmp_path_factory.mktemp("hostile")
    stem = HOSTILE.replace("/", "\u2215") + "\udcff"
    for side, seed in (("ir", 1), ("vi", 2), ("one", 3), ("two", 4)):
        (folder / side).mkdir()
        Image.fromarray(picture(seed, (64, 96))).save(folder / side / f"{stem}.png")
    results = []
    for side in ("one", "two"):
        triples, problems = find_triples(folder / side, folder / "ir", folder / "vi")
        evaluation = evaluate_all(triples, problems, METRICS, "ddfm", 1)
        label = HOSTILE + side
        results.append(
            Result(f"MRI-{HOSTILE}", label, evaluation, triples, HOSTILE, sources=(HOSTILE, HOSTILE))
        )
    row = Row(HOSTILE, "here", evaluation.images[stem], HOSTILE, mark=HOSTILE)
    table = Table(None, HOSTILE, METRICS, [Block(HOSTILE, [row])], HOSTILE, [HOSTILE])
    write_report(folder / "report.html", [table], results, pairs=2, max_side=50)
    return folder / "report.html"


def test_no_name_becomes_markup(hostile_page: Path):
    parser = Parser()
    parser.feed(hostile_page.read_text(encoding="utf-8"))
    assert not parser.open
    assert len(parser.named("script")) == 1 and not any(
        "onerror" in attributes for _, attributes in parser.tags
    )
    assert all(str(image["src"]).startswith("data:image/webp") for image in parser.named("img"))


def test_no_name_runs_in_a_browser(browser: Any, hostile_page: Path):
    browser.get(hostile_page.as_uri())
    assert browser.title == "Image fusion: evaluation"
    for button in browser.find_elements("css selector", ".sortable thead button, .card .open"):
        button.click()
    assert browser.find_element("css selector", "#viewer .stem").text.startswith('x"><img src=x')
    for option in browser.find_elements("css selector", "#viewer option"):
        assert option.get_attribute("textContent").startswith('x"><img src=x')
    assert browser.title == "Image fusion: evaluation" and browser.get_log("browser") == []


def test_the_policy_stops_what_would_slip_through(browser: Any, hostile_page: Path, tmp_path: Path):
    """Were something put in unescaped, the policy would still not run it."""
    slipped = "<img src=x onerror=\"document.title='ran'\"><script>document.title='ran'</script>"
    (tmp_path / "r.html").write_text(
        hostile_page.read_text(encoding="utf-8").replace("<main>", f"<main>{slipped}")
    )
    browser.get((tmp_path / "r.html").as_uri())
    assert browser.title == "Image fusion: evaluation"
    assert "Content Security Policy" in str(browser.get_log("browser"))


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
