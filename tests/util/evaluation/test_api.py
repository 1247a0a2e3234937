"""``evaluate``: arrays or folders in, a table object out."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.util.evaluation.test_metrics import picture
from util.evaluation.api import evaluate
from util.evaluation.metrics import METRICS, PAPER_METRICS, ZOO_METRICS
from util.evaluation.metrics import evaluate as evaluate_one

F, A, B = (picture(seed, (64, 96)) for seed in (3, 1, 2))


def write(folder: Path, images: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, image in images.items():
        Image.fromarray(image).save(folder / f"{stem}.png")
    return folder


def test_one_array_gives_the_twelve_metrics():
    board = evaluate(F, A, B)
    assert board["fused"] == pytest.approx(evaluate_one(F, A, B))
    assert board.methods == ["fused"] and board.comparison.metrics == list(METRICS)
    assert list(evaluate(F, A, B, protocol="zoo")["fused"]) == list(ZOO_METRICS)


def test_lists_of_arrays_in_colour_and_several_methods():
    colour = np.stack([F, F, F], axis=2)
    board = evaluate({"ours": [colour, F], "theirs": [A, A]}, [A, A], [B, B], metrics="EN,VIF")
    assert board["ours"] == pytest.approx(evaluate_one(F, A, B, ["EN", "VIF"]))
    assert board["theirs"]["VIF"] == pytest.approx(evaluate_one(A, A, B, ["VIF"])["VIF"])
    assert "theirs [copy of infrared]" in str(board)


def test_folders_with_missing_files(tmp_path: Path):
    ir, vi = write(tmp_path / "ir", {"a": A, "b": B}), write(tmp_path / "vi", {"a": B, "b": A})
    one, two = write(tmp_path / "one/recon", {"a": F, "b": F}), write(tmp_path / "two", {"a": F, "c": F})
    board = evaluate({"one": one.parent, "two": str(two)}, ir, vi, metrics=PAPER_METRICS)
    assert list(board.comparison.methods["one"]) == ["a", "b"]  # recon is found in the root of results
    assert list(board.comparison.methods["two"]) == ["a"]
    assert {problem.stem for problem in board.comparison.problems["two"]} == {"b", "c"}
    assert board.comparison.ranked == ["one"]  # not on the same images
    assert "1 of 2" in str(board) and "only methods on 2 images are ranked" in " ".join(str(board).split())


def test_every_format_holds_the_same_numbers():
    board = evaluate({"m|1 & x": [F, A]}, [A, A], [B, B], metrics=["EN", "PSNR"])
    content = json.loads(board.to_json())
    assert content == json.loads(json.dumps(board.to_dict()))
    method = content["methods"]["m|1 & x"]
    assert method["mean"]["EN"] == pytest.approx(board["m|1 & x"]["EN"])
    low, high = method["interval"]["EN"]
    assert low <= method["mean"]["EN"] <= high
    rows = list(csv.DictReader(io.StringIO(board.to_csv())))
    assert [row["image"] for row in rows] == ["0", "1", "mean"]
    assert float(rows[2]["EN"]) == pytest.approx(board["m|1 & x"]["EN"])
    assert r"m\|1 & x" in board.to_markdown() and r"m|1 \& x" in board.to_latex()


def test_frames_if_pandas_is_there():
    board = evaluate([F, A], [A, A], [B, B], metrics=["EN", "SD"])
    pandas = pytest.importorskip("pandas")
    frame = board.to_frame()
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns) == ["EN", "SD"]
    assert frame.loc[("fused", "0"), "SD"] == pytest.approx(F.std())


def test_infinities_of_both_signs_are_no_error():
    black = np.zeros((64, 96), np.uint8)
    board = evaluate([black, A], [A, A], [B, A], metrics=["PSNR"])
    values = board.comparison.values("fused", "PSNR")
    assert values == [-np.inf, np.inf]
    assert json.loads(board.to_json())["methods"]["fused"]["mean"]["PSNR"] is None
    assert "-" in board.to_text() and board.to_csv().count("inf") == 2


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((F.astype(float), A, B), {}, "uint8 arrays, not"),
        ((F[:-3], A, B), {}, "neither the sources' size"),
        ((F, A, B[1:]), {}, "differ in size"),
        (([F, F], [A], [B]), {}, "as many images of each"),
        ((F, "folder", B), {}, "give folders or arrays for all"),
        (({}, A, B), {}, "names no method"),
        ((F, A, B), {"metrics": "EN,FID"}, "unknown metric FID"),
        ((F, A, B), {"protocol": "theirs"}, "unknown protocol 'theirs'"),
        (({"x": "here", "y": F}, "ir", "vi"), {}, "every method must be a folder"),
        (("none", "ir", "vi"), {}, "ir is not a folder"),
    ],
)
def test_wrong_input_is_named(arguments, options, message: str):
    with pytest.raises(ValueError, match=message):
        evaluate(*arguments, **options)
