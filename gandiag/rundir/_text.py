"""JSON that comes from, or goes to, a disk nobody vouches for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

MAX_DEPTH = 32
MAX_TEXT = 1 << 17  # 128 KiB: Linux passes no longer argument to a command, so no honest `command` is cut

# Control characters would reach the reader's terminal, where they can move the cursor or rewrite lines;
# lone surrogates (undecodable bytes of argv) cannot be printed or written at all.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` without control characters and lone surrogates, at most `MAX_TEXT` characters long."""
    return _UNPRINTABLE.sub("\ufffd", text[:MAX_TEXT].replace("\r\n", "\n"))


def plain(value: Any, *, depth: int = 0) -> Any:
    """`value` as plain JSON: dict, list, str, int, float, bool or None.

    NumPy scalars and arrays become numbers and lists, NaN and infinities None (JSON has none), and what is
    unknown its `str`.

    Raises:
        ValueError: if it nests deeper than `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean(str(key)): plain(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth=depth + 1) for item in value]
    if isinstance(value, PurePath):
        return clean(str(value))
    if hasattr(value, "tolist"):  # NumPy, without importing it
        return plain(value.tolist(), depth=depth + 1)
    return clean(str(value))


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, cleaned.

    Raises:
        ValueError: for anything else, whatever the bytes are.
    """
    try:
        value = json.loads(data)
        if not isinstance(value, dict):
            raise ValueError(f"holds a JSON {type(value).__name__}, not an object")
        return dict(plain(value))
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from None
