"""A short run of ``python -m tests.fuzz``: damaged files give our error or nothing at all."""

from __future__ import annotations

import warnings

import pytest

from tests.fuzz.__main__ import fuzz


@pytest.mark.parametrize("what, count", [("checkpoints", 2000), ("images", 1000), ("yaml", 1000)])
def test_damaged_files_give_one_kind_of_error(what: str, count: int):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about metadata
        done, found = fuzz(what, count, seed=1)
    assert done == count and not found
