"""StyleGAN's `stats.jsonl`: one JSON object a line, `{"Loss/G/loss": {"num": .., "mean": .., "std": ..}, ...}`.

Written once a tick (some thousand images) by StyleGAN2-ADA, StyleGAN3 and what was built on them: means over the
tick. Lines of plain numbers (`{"step": 1, "loss_d": 0.7}`) are read alike.

Source: Karras et al. 2021, arXiv:2106.12423, its published training code (`torch_utils/training_stats.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gandiag.errors import RunDirError
from gandiag.logs._rows import Rows, lines
from gandiag.logs.base import Log, head, log_format, the_one, unreadable

TITLE = "a StyleGAN stats.jsonl"


def sniff(path: Path) -> bool:
    """A file whose first line is a JSON object, or a folder with a `stats.jsonl`."""
    if path.is_dir():
        return (path / "stats.jsonl").is_file()
    if path.suffix.lower() == ".jsonl":
        return path.is_file()  # what is wrong with it is said when it is read
    # The first line of a wide log may be longer than the head: how it begins has to do.
    return head(path).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b'{"')


@log_format("stats_jsonl", title=TITLE, order=10, sniff=sniff)
def read(path: Path) -> Log:
    """Read the means of all lines.

    Raises:
        RunDirError: if the file cannot be read or holds no line of numbers.
    """
    file = the_one([path / "stats.jsonl"], path, "logs") if path.is_dir() else path
    rows, torn = Rows(), 0
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as text:
            for line in lines(text, file):
                fields = _object(line)
                if fields is None:
                    torn += bool(line.strip())
                else:
                    rows.add(_numbers(fields))
    except OSError as error:
        raise unreadable(file, error) from None
    if torn:
        rows.notes.append(f"{torn} torn or unreadable lines were left out")
    if not rows.count:
        raise RunDirError(f"{file} holds no line with a JSON object of numbers: it is empty, torn or no {TITLE[2:]}")
    return rows.log(path, TITLE)


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _numbers(fields: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Each name with its mean; what had no sample in this tick (`num` is 0, and so the mean is NaN) is not there."""
    for name, value in fields.items():
        if isinstance(value, dict):
            if value.get("num") == 0:
                continue
            value = value.get("mean")
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, _as_float(value)


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # JSON's integers know no end
        return float("inf") if value > 0 else float("-inf")
