"""Reading YAML configuration files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from util.files import write_atomically


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file (an empty file is an empty mapping).

    Raises ValueError, naming the file and what to do, when it cannot be read or holds no mapping.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read the configuration file {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold a mapping of keys to values, but holds {type(data).__name__}")
    return data


def write_variant(shipped: Path, path: Path, **changes: Any) -> Path:
    """Write the configuration ``shipped`` with some keys changed to ``path``, which is returned.

    Raises ValueError as :func:`read_yaml`, OSError when it cannot be written.
    """
    write_atomically(path, yaml.safe_dump(read_yaml(shipped) | changes, sort_keys=False).encode())
    return path
