"""A pair in the report: its images upon each other, and what shows them."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

from util.evaluation.folders import Result
from util.evaluation.report.markup import Html, element
from util.evaluation.report.places import card_id
from util.evaluation.tables import heading, printed
from util.evaluation.views import fused_file, shown, source_labels
from util.images.image_io import read_image
from util.images.png import encode_preview


def card(name: str, results: Sequence[Result], stem: str, max_side: int) -> Html:
    """One pair: its images upon each other, of which two sliders show a strip each."""
    triples = {
        index: triple
        for index, result in enumerate(results)
        for triple in result.triples
        if triple.stem == stem
    }
    first = next(iter(triples))
    fused = {index: shown(read_image(fused_file(triple))) for index, triple in triples.items()}
    sources = [shown(read_image(path)) for path in (triples[first].ir, triples[first].vi)]
    height, width = (min(image.shape[axis] for image in (*fused.values(), *sources)) for axis in (0, 1))

    def picture(side: str, image: np.ndarray, label: str, method: int | None = None) -> Html:
        content, (w, h) = encode_preview(image[:height, :width], max_side)
        return element(
            "img",
            class_=side,
            data_method=method,
            hidden=method is not None and method != first,
            alt=f"{stem}, {'fused, ' if method is not None else ''}{label}",
            data_label=label,
            width=w,
            height=h,
            src=f"data:image/webp;base64,{base64.b64encode(content).decode()}",
        )

    images = [picture("fused", image, results[index].label, index) for index, image in fused.items()]
    lines = []
    for index in fused:
        scores = results[index].evaluation.images[stem].items()
        values = [
            element("span", f"{heading(metric)} ", element("b", printed(value))) for metric, value in scores
        ]
        lines.append(element("p", *values, class_="scores", data_method=index, hidden=index != first))
    labels = source_labels(results[0])
    for side, image, label in zip(("ir", "vi"), sources, labels, strict=True):
        images.append(picture(side, image, label))
    stage = element(
        "div", *images, *(element("i", class_=f"line {end}") for end in "ab"), *_tags(*labels), class_="stage"
    )
    title = element(
        "figcaption",
        stem,
        element("button", "full window", type="button", class_="open", aria_label=f"{stem} in full window"),
    )
    return element(
        "figure", title, stage, *_controls(stem, *labels), *lines, class_="card", id=card_id(name, stem)
    )


def _tags(first: str, second: str) -> list[Html]:
    texts = {"ir": first, "fused": "fused", "vi": second}
    return [element("span", text, class_=f"tag {side}") for side, text in texts.items()]


def _controls(stem: str, first: str, second: str) -> list[Html]:
    """Sliders for the two dividers, in percent of the width, and buttons for the positions most wanted."""
    sliders = [
        element("input", type="range", class_=side, min=0, max=100, value=value, aria_label=label)
        for side, value, label in (("a", 33, f"{stem}: {first} up to"), ("b", 67, f"{stem}: {second} from"))
    ]
    presets = [
        element("button", text, type="button", data_a=a, data_b=b)
        for text, a, b in ((first, 100, 100), ("fused", 0, 100), (second, 0, 0), ("all", 33, 67))
    ]
    return [element("div", *sliders, class_="sliders"), element("div", *presets, class_="presets")]
