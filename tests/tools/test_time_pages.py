"""Commands of the users' pages are found, run in a folder that has what they name, and timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import time_pages

PAGE = """# A page
## 1. Install

```bash
pip install nothing
```

## 2. Fuse

```bash
python sample.py --preset local_fast --ir ir.png --vi vi.png \\
    -o one.png
```

```python
open("seen", "w").write("x")
```
"""


def test_every_step_is_run_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = list(time_pages.steps(PAGE))
    assert [(heading, language) for heading, language, _ in found] == [
        ("1. Install", "bash"),
        ("2. Fuse", "bash"),
        ("2. Fuse", "python"),
    ]
    place = tmp_path / "place"
    time_pages.prepare(place, 1)
    for _, language, command in found[1:]:
        assert 0 < time_pages.timed(language, command, place) < 120
    assert (place / "one.png").is_file() and (place / "seen").is_file()
    with pytest.raises(ValueError, match="exit status 2"):
        time_pages.timed("bash", "python sample.py --ir none.png --vi vi.png -o two.png", place)
