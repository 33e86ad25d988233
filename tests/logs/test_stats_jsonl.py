"""StyleGAN's stats.jsonl."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gandiag.errors import RunDirError
from gandiag.logs import FORMATS, Log, find, tabulate

DATA = Path(__file__).parent / "data"


def read(path: Path) -> Log:
    found = find(path)
    assert found is FORMATS["stats_jsonl"]
    return found.read(path)


def test_a_file_of_stylegan3s_own_collector() -> None:
    """Thirty ticks that StyleGAN3's training_stats wrote: images on the axis, means, signs as shares."""
    log = read(DATA / "stats.jsonl")
    table = tabulate(log)
    lines = [json.loads(line) for line in (DATA / "stats.jsonl").read_text().splitlines()]
    assert log.axis == "images"
    assert table.scalars["iteration"].tolist() == [round(line["Progress/kimg"]["mean"] * 1000) for line in lines]
    assert table.scalars["loss/g"].tolist() == [line["Loss/G/loss"]["mean"] for line in lines]
    shares = [(1 + line["Loss/signs/real"]["mean"]) / 2 for line in lines]
    assert table.scalars["d/logits/real/positive"].tolist() == shares
    assert table.scalars["d/logits/fake/mean"][0] < 0 < table.scalars["d/logits/real/mean"][0]


def test_nothing_collected_is_not_nan() -> None:
    """StyleGAN writes NaN as the mean of no numbers: its first tick has no penalty yet, and is not broken."""
    log = read(DATA / "stats.jsonl")
    assert '"Loss/r1_penalty": {"num": 0, "mean": NaN' in (DATA / "stats.jsonl").read_text().splitlines()[0]
    assert len(log.series["Loss/r1_penalty"]) == 29
    assert not tabulate(log).scalars["numerics/nonfinite"].any()


def test_nan_of_numbers_is_nan(tmp_path: Path) -> None:
    """A mean that is NaN although numbers were collected is a broken training."""
    line = {"Loss/D/loss": {"num": 64, "mean": float("nan"), "std": float("nan")}}
    path = tmp_path / "stats.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for _ in range(5)))
    assert tabulate(read(tmp_path)).scalars["numerics/nonfinite"].tolist() == [1] * 5


def test_plain_numbers_are_read_alike(tmp_path: Path) -> None:
    """A line may hold numbers instead of statistics."""
    path = tmp_path / "train_log"
    path.write_text('{"step": 10, "loss_d": 0.5, "note": "hi", "ok": true}\n{"step": 20, "loss_d": 1e999}\n')
    steps, values = read(path).series["loss_d"].points()
    assert steps.tolist() == [10, 20]
    assert values.tolist() == [0.5, np.inf]


@pytest.mark.parametrize(
    "line", ["", '{"a": ', "[1, 2]", "[" * 100_000, "\x00\x01", '{"loss_d": ' + "9" * 4000 + "}", '{"loss_d": [1]}']
)
def test_torn_and_foreign_lines_cost_only_themselves(tmp_path: Path, line: str) -> None:
    """What is not an object of numbers is left out; nothing raises anything but RunDirError."""
    path = tmp_path / "stats.jsonl"
    path.write_text(f'{{"loss_d": 0.5}}\n{line}\n{{"loss_d": 0.25}}\n')
    values = read(path).series["loss_d"].points()[1].tolist()
    assert values[0] == 0.5
    assert values[-1] == 0.25


@pytest.mark.parametrize("text", ["", "\n\n", "no json at all\n", "[1]\n"])
def test_a_file_without_an_object_is_refused(tmp_path: Path, text: str) -> None:
    """One message that says what was found."""
    path = tmp_path / "stats.jsonl"
    path.write_text(text)
    with pytest.raises(RunDirError, match="no line with a JSON object"):
        read(path)
