"""What is shown: escaped, whole, and with scales that are those of the images."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from util.page import markup
from util.page.colour_bar import bar_of
from util.page.fusing import Progress
from util.page.outcome import MEASURED, Outcome
from util.page.pictures import Picture

HOSTILE = """x"><img src=x onerror="alert(1)"><script>alert(1)</script>' ${y} {{z}}.png"""
RNG = np.random.default_rng(0)


def values(size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A smooth field from 0 to 1."""
    field = gaussian_filter(RNG.normal(size=size), 6)
    return (field - field.min()) / (field.max() - field.min())


def outcome(medical: bool = True, scores: bool = True) -> Outcome:
    grey = np.rint(255 * values()).astype(np.uint8)
    rgb = np.rint(255 * mpl.colormaps["jet"](values())[..., :3]).astype(np.uint8)
    sources = [Picture(HOSTILE, grey, rgb, "0" * 64), Picture("b.png", grey, None, "1" * 64)]
    provenance = {
        "prior": {"file": HOSTILE, "sha256": "f" * 64, "parameters": 3},
        "rectification": {"variant": HOSTILE},
        "sampler": "ddim",
        "steps": 25,
        "seed": 1,
        "noise": [0.0, 12.25],
        "device": HOSTILE,
        "versions": {"ddfm": "1", "torch": "2"},
    }
    measured = dict.fromkeys(MEASURED, 0.5) | {"VIF": float("nan")} if scores else {}
    return Outcome(sources, grey, rgb, medical, provenance, 0.0421, measured, HOSTILE)


class Parser(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("medical", [True, False])
@pytest.mark.parametrize("scores", [True, False])
def test_no_name_becomes_markup(medical: bool, scores: bool):
    found = outcome(medical, scores)
    for text in (
        markup.failure(f"{HOSTILE}\n{HOSTILE}"),
        markup.sources(found.sources),
        markup.running(Progress(HOSTILE, 1.0)),
        markup.running(Progress(HOSTILE, 1.0, 3, 9, found.grey)),
        markup.result(found),
        markup.details(found),
    ):
        for tag, attributes in Parser(text).tags:
            assert tag != "script" and not any(name.startswith("on") for name in attributes)
            assert (attributes.get("src") or "data:image/webp;base64,").startswith("data:image/webp;base64,")


def test_every_image_can_be_put_on_either_side():
    tags = Parser(markup.result(outcome())).tags
    keys = [attributes["data-key"] for tag, attributes in tags if tag == "img"]
    options = [attributes["value"] for tag, attributes in tags if tag == "option"]
    assert keys == ["colour", "grey", "source0", "source1"] and options == keys * 2
    assert [a["class"] for tag, a in tags if tag == "img"] == ["left", "", "", "right"]


def test_figures_are_told():
    text = markup.details(outcome())
    assert all(f"<th scope=row>{name}</th>" in text for name in MEASURED)
    assert text.count("<td>0.500</td>") == len(MEASURED) - 1 and "<td>-</td>" in text
    assert "0.0, 12.2 grey levels" in text
    assert "Fused in 42 ms" in markup.result(outcome())
    assert "<table" not in markup.details(outcome(scores=False))


def test_only_medical_images_have_scales():
    assert markup.details(outcome()).count("ddfm-bar") == 4
    assert "ddfm-bar" not in markup.details(outcome(medical=False))


@pytest.mark.parametrize("name", ["jet", "hot", "inferno", "viridis"])
def test_a_bar_has_the_colours_in_the_order_of_the_scale(name: str):
    """Also where the scale does not grow brighter: red is the end of a rainbow, and darker than its yellow."""
    shade = mpl.colormaps[name]
    bar = bar_of(np.rint(255 * shade(values((256, 256)))[..., :3]).astype(np.uint8))
    assert bar is not None
    scale = 255 * shade(np.linspace(0, 1, 256))[:, :3]
    nearest = [int(((scale - np.array(rgb)) ** 2).sum(axis=1).argmin()) for rgb in bar.shades]
    # a shade is a mean of cells of 16 levels, which may lie eight of the scale's 256 steps off
    assert all(a < b + 8 for a, b in itertools.pairwise(nearest)) and nearest[-1] - nearest[0] > 150


def test_a_scale_begins_with_the_surround_which_may_be_white():
    rows, columns = np.mgrid[-1:1:256j, -1:1:256j]
    body = np.clip(1.2 - np.hypot(rows, columns) / 0.7, 0, 1) ** 0.5
    for name in ("hot", "hot_r"):
        shade = mpl.colormaps[name]
        bar = bar_of(np.rint(255 * shade(body)[..., :3]).astype(np.uint8))
        assert bar is not None
        ends = 255 * shade(np.array([0.0, 1.0]))[:, :3]
        assert np.abs(np.array([bar.shades[0], bar.shades[-1]]) - ends).max() < 40


def test_bars_of_grey_and_of_what_has_no_scale():
    bar = bar_of(np.array([[10, 20], [30, 200]], dtype=np.uint8))
    assert bar is not None and (bar.low, bar.high) == ("10", "200") and bar.shades[0] == (10, 10, 10)
    assert bar_of(np.full((8, 8, 3), 9, dtype=np.uint8)) is None
    assert bar_of(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)) is None
