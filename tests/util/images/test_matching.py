"""Which names of several folders belong together, and what is suggested where none do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from util.images.matching import parse_matching, suggest


def listing(folder: str, *names: str) -> dict[str, list[Path]]:
    """As the files of a folder are listed: by stem."""
    found: dict[str, list[Path]] = {}
    for name in names:
        path = Path(folder) / (name if "." in name else f"{name}.png")
        found.setdefault(path.stem, []).append(path)
    return found


def matched(text: str, *folders: list[str]) -> dict[str, list[list[str]]]:
    """Names of files, of each folder, by the name of the result."""
    listings = [listing(f"d{number}", *names) for number, names in enumerate(folders)]
    sides = parse_matching(text).match(listings).sides
    return {
        name: [[path.name for path in side.get(name, [])] for side in sides]
        for name in sorted(set().union(*sides))
    }


def test_by_stem():
    assert matched("stem", ["a.png", "b.tif"], ["a.jpg"]) == {
        "a": [["a.png"], ["a.jpg"]],
        "b": [["b.tif"], []],
    }


def test_by_place_in_natural_order():
    assert matched("index", ["f2", "f10", "f1"], ["x01", "x02", "x03"]) == {
        "f1": [["f1.png"], ["x01.png"]],
        "f2": [["f2.png"], ["x02.png"]],
        "f10": [["f10.png"], ["x03.png"]],
    }
    with pytest.raises(ValueError, match="as many images each, but d0 has 2, d1 has 1"):
        matched("index", ["a", "b"], ["c"])


@pytest.mark.parametrize(
    "text, folders, expected",
    [
        ("thermal_*=rgb_*", [["thermal_1"], ["rgb_1"]], {"1": [["thermal_1.png"], ["rgb_1.png"]]}),
        ("*=*_vis", [["7"], ["7_vis"]], {"7": [["7.png"], ["7_vis.png"]]}),
        ("a*=b*=c*", [["a1"], ["b1"], ["c1"]], {"1": [["a1.png"], ["b1.png"], ["c1.png"]]}),
        ("*_ir_*=*_vi_*", [["s_ir_2"], ["s_vi_2"]], {"s_2": [["s_ir_2.png"], ["s_vi_2.png"]]}),
        ("*.TIF=*.jpg", [["a.TIF", "a.png"], ["a.jpg"]], {"a": [["a.TIF"], ["a.jpg"]]}),
        ("*.ir=*.vi", [["a.ir.png"], ["a.vi.png"]], {"a": [["a.ir.png"], ["a.vi.png"]]}),
        ("u\u0308*=x*", [["\u00fc1"], ["x1"]], {"1": [["\u00fc1.png"], ["x1.png"]]}),
        ("[a]*=b*", [["[a]1", "a1"], ["b1"]], {"1": [["[a]1.png"], ["b1.png"]]}),
    ],
)  # fmt: skip
def test_by_pattern(text: str, folders: list[list[str]], expected: dict[str, list[list[str]]]):
    assert matched(text, *folders) == expected


def test_what_no_pattern_fits_is_told_unless_another_of_its_folder_does():
    both = listing("all", "a_ir", "a_vis", "notes")
    matches = parse_matching("*_ir=*_vis").match([both, both])
    assert [list(side) for side in matches.sides] == [["a"], ["a"]]
    assert [path.name for path in matches.left] == ["notes.png"]


def test_two_files_of_one_result_are_kept_together_for_an_error():
    assert matched("a*=b*", ["a1.png", "a1.tif"], ["b1"])["1"][0] == ["a1.png", "a1.tif"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("stm", "'stm' does not say how names match: give stem, index, or a pattern"),
        ("a*", "does not say"),
        ("a*=b", "does not say"),
        ("=", "does not say"),
        ("a*=b*_*", "as many stars"),
        ("a**=b**", "no two side by side"),
        ("ir/*=vi/*", "of names, not of paths"),
    ],
)
def test_what_is_no_rule(text: str, words: str):
    with pytest.raises(ValueError) as error:
        parse_matching(text)
    assert words in str(error.value)


def test_stars_that_fit_in_two_ways_are_refused():
    with pytest.raises(ValueError, match=r"d0/a_ir_ir_b\.png: the stars of '\*_ir_\*' fit its name in more"):
        matched("*_ir_*=*_vi_*", ["a_ir_ir_b", "a_ir_b"], ["a_vi_b"])
    with pytest.raises(ValueError, match="has 2 patterns, but there are 3 folders"):
        matched("a*=b*", ["a1"], ["b1"], ["c1"])


affix = st.text("abXY_-ä[", max_size=6)
frames = st.sets(st.integers(0, 999), min_size=1, max_size=12)


@given(st.tuples(affix, affix), st.tuples(affix, affix), frames, frames)
def test_a_pattern_pairs_exactly_the_numbers_that_both_folders_have(
    one: tuple[str, str], other: tuple[str, str], ones: set[int], others: set[int]
):
    names = [f"{one[0]}{n}{one[1]}" for n in ones], [f"{other[0]}{n}{other[1]}" for n in others]
    rule = parse_matching(f"{one[0]}*{one[1]}={other[0]}*{other[1]}")
    first, second = rule.match([listing("ir", *names[0]), listing("vi", *names[1])]).sides
    assert set(first) & set(second) == {str(n) for n in ones & others}
    assert all(len(files) == 1 for side in (first, second) for files in side.values())


@pytest.mark.parametrize(
    "folders, words",
    [
        ([["FLIR_0001_ir", "FLIR_0002_ir"], ["FLIR_0001_vis", "FLIR_0002_vis", "x"]], "'*_ir=*_vis' would pair 2"),
        ([["thermal_1", "thermal_2"], ["rgb_1", "rgb_2"]], "'thermal_*=rgb_*' would pair 2"),
        ([["a_ir_1", "b_ir_1"], ["a_vi_1", "b_vi_1"]], "'*_ir_*=*_vi_*' would pair 2"),
        ([["001", "002"], ["001_vis", "002_vis"]], "'*=*_vis' would pair 2"),
        ([["cam0_1", "cam0_2"], ["cam1_1", "cam1_2"]], "'*0_*=*1_*' would pair 2"),
        ([["a_1", "a_2"], ["b_1", "b_2"], ["c_1", "c_2"]], "'a_*=b_*=c_*' would pair 2"),
        ([["cat_ir"], ["cat_vis"]], "'*_ir=*_vis' would pair 1"),
        ([["cat", "dog"], ["one", "two"]], "--match index"),
        ([["f_1", "f_2"], ["f_3", "f_4", "f_5"]], ""),
        ([["cat"], ["one", "two"]], ""),
    ],
)  # fmt: skip
def test_suggestions(folders: list[list[str]], words: str):
    listings = [listing(f"d{number}", *names) for number, names in enumerate(folders)]
    said = suggest(listings)
    assert words in said and bool(words) == bool(said), said
    if "'" in said:  # it does what it says
        pattern, count = said.split("'")[1], int(said.rsplit(" ", 1)[1])
        sides = parse_matching(pattern).match(listings).sides
        assert len(set(sides[0]).intersection(*sides[1:])) == count


def test_a_large_folder_takes_no_time():
    folders = [listing(name, *(f"{name}{n:05d}" for n in range(20_000))) for name in ("ir_", "rgb_")]
    assert "'ir_*=rgb_*' would pair 20000" in suggest(folders)
