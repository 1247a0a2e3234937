"""Files of other names than their results: ``--match`` of ``evaluate.py``, as ``sample.py`` has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import evaluate as command
from ddfm import evaluate
from tests.util.evaluation.test_metrics import picture

NUMBERS = (1, 2, 10)


def lay(root: Path, **names: str) -> Path:
    """A folder for each keyword, whose images have the value as name, with the number for the star."""
    for side, (folder, name) in enumerate(names.items()):
        (root / folder).mkdir(parents=True)
        for number in NUMBERS:
            image = Image.fromarray(picture(3 * number + side % 3, (64, 80)))
            image.save(root / folder / f"{name.replace('*', str(number))}.png")
    return root


@pytest.fixture
def expected(tmp_path: Path) -> list[float]:
    """VIF of the three pairs in their order, of files that all have one name."""
    return values(run(lay(tmp_path / "plain", ir="*", vi="*", fused="*"), "--metrics", "VIF"))


def run(root: Path, *more: str, status: int = 0) -> dict[str, Any]:
    """The report of one folder."""
    line = [part for side in ("ir", "vi", "fused") for part in (f"--{side}", str(root / side))]
    assert command.main([*line, "--json", str(root / "out.json"), *more]) == status
    return json.loads((root / "out.json").read_text()) if not status else {}


def values(content: dict[str, Any]) -> list[float]:
    return [scores["VIF"] for _, scores in sorted(content["images"].items(), key=lambda item: len(item[0]))]


@pytest.mark.parametrize(
    ("names", "rule", "first"),
    [
        ({"ir": "thermal_*", "vi": "rgb_*", "fused": "*"}, "thermal_*=rgb_*", "1"),
        ({"ir": "thermal_*", "vi": "rgb_*", "fused": "out*_x"}, "thermal_*=rgb_*=out*_x", "1"),
        ({"ir": "t*", "vi": "v*", "fused": "t*"}, "index", "t1"),
        ({"ir": "t*", "vi": "v*", "fused": "*"}, "index", "t1"),
    ],
)
def test_names_that_differ(
    tmp_path: Path, expected: list[float], names: dict[str, str], rule: str, first: str
):
    """Values are those of the same files of one name; results are called as sample.py calls them."""
    content = run(lay(tmp_path / "other", **names), "--metrics", "VIF", "--match", rule)
    assert next(iter(content["images"])) == first
    assert values(content) == expected


def test_several_methods_and_the_function(tmp_path: Path, expected: list[float]):
    root = lay(tmp_path / "several", ir="t*", vi="v*", one="*", two="*")
    line = ["--ir", str(root / "ir"), "--vi", str(root / "vi"), "--methods", str(root), "--metrics", "VIF"]
    assert command.main([*line, "--match", "t*=v*", "--json", str(root / "out.json")]) == 0
    methods = json.loads((root / "out.json").read_text())["methods"]
    assert values(methods["one"]) == expected and len(methods["two"]["images"]) == 3
    board = evaluate(root / "one", root / "ir", root / "vi", metrics="VIF", match="t*=v*")
    assert board["fused"]["VIF"] == pytest.approx(np.mean(expected), rel=1e-12)
    with pytest.raises(ValueError, match="matched by their place"):
        evaluate(*[picture(0, (64, 80))] * 3, match="index")


def test_one_missing_image_is_named_by_its_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """In order of place the others keep theirs where results have the names of the first source."""
    root = lay(tmp_path, ir="t*", vi="v*", fused="f*")
    (root / "fused/f2.png").unlink()
    run(root, "--match", "t*=v*=f*", status=1)
    assert f"2: there is no f2 in {root / 'fused'}" in capsys.readouterr().err
    run(root, "--match", "index", status=2)
    assert f"{root / 'ir'} has 3, {root / 'fused'} has 2" in capsys.readouterr().err
    for number in (1, 10):
        (root / f"fused/f{number}.png").rename(root / f"fused/t{number}.png")
    run(root, "--match", "index", status=1)
    assert f"t2: there is no t2.* in {root / 'fused'}" in capsys.readouterr().err


def test_what_fits_nothing_is_told_with_what_would(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = lay(tmp_path, ir="t_*", vi="v_*", fused="f_*")
    run(root, status=2)
    assert "--match 't_*=v_*=f_*' would pair 3" in capsys.readouterr().err.replace("\n", " ")
    run(root, "--match", "t_*=v_*=x_*", status=2)
    assert "no image of" in (error := capsys.readouterr().err) and "fits 'x_*', its first is f_1.png" in error
    run(root, "--match", "t_*=v_*=f_*=f_*", status=2)
    assert "has 4 patterns: give one for each source" in capsys.readouterr().err
    (root / "fused/f_1.jpg").write_bytes((root / "fused/f_1.png").read_bytes())
    run(root, "--match", "t_*=v_*=f_*", status=1)
    assert "both fit 't_*=v_*=f_*'; keep one of them" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(root, "--match", "names")
    assert "does not say how names match" in capsys.readouterr().err
