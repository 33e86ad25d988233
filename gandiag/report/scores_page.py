"""Scores as a self-contained HTML page, and their figures as PNG files."""

from __future__ import annotations

import base64
import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gandiag.errors import UsageError
from gandiag.report import words
from gandiag.report.scores import compared, further, headline, mode_facts, sizes
from gandiag.report.text import number, percent, sentence, short

if TYPE_CHECKING:
    from gandiag.report.plots._scores import Drawing
    from gandiag.report.plots.base import Picture
    from gandiag.score import Scores
    from gandiag.score.result import Shown

Json = Mapping[str, Any]

#: Rows of the mode table on the page; the JSON has them all.
MAX_MODES = 200
#: Pictures of each side in a row of it: a page with a thousand images is slow to open.
EXEMPLARS, PICTURED_MODES = 3, 60
SAMPLES = 48


def write(found: Scores, path: str | Path) -> Path:
    """Write the report to the file `path`.

    Raises:
        UsageError: the file cannot be written.
    """
    from gandiag.report.html import save

    return save(page(found), path)


def page(found: Scores) -> str:
    """The report as an HTML document."""
    from gandiag.report.html import render
    from gandiag.report.plots.samples import pair

    data = found.to_json()
    tone, word, why = headline(data)
    pictures = {drawing.name: _drawn(drawing) for drawing in _drawings(found)}
    real, fake = _drawn_at_random(found.real), _drawn_at_random(found.fake)
    modes = data["modes"] or {}
    return render(
        "scores.html.j2",
        tone=tone,
        word=word,
        why=why,
        further=further(data),
        facts=[(name, value) for name, value in (*sizes(data), ("compared in", data["embedder"]))],
        pictures=pictures,
        samples=None if real is None or fake is None else pair(("Real", real), ("Generated", fake)),
        modes_summary=sentence(words.mode_summary(modes)) if modes else "",
        modes_facts=mode_facts(modes) if modes else [],
        **_mode_rows(modes, found),
        metrics=[_metric_row(name, data["metrics"]) for name in data["metrics"]],
        compared=compared(data),
        cautions=[sentence(caution) for caution in data["cautions"]],
    )


def prepare(path: Path, *, figures: bool = False) -> None:
    """Make the folder that a file is to be written into, and try whether one can be.

    Args:
        path: the page, or the figures.
        figures: a folder or a `.png` file are meant.

    Raises:
        UsageError: it cannot be made, or the path is of another kind.
    """
    if figures and not _is_folder(path) and path.suffix.lower() != ".png":
        raise UsageError(f"{path} is no .png file and no folder: name one of these for the figures")
    if not figures and path.is_dir():
        raise UsageError(
            f"{path} is a folder, and the page is one file: name one in it, such as {path / 'scores.html'}"
        )
    folder = path if figures and _is_folder(path) else path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror or error}; name another file") from error


def write_pictures(found: Scores, path: Path) -> list[Path]:
    """Write the figures as PNG: all in one file, or each into a folder.

    Raises:
        UsageError: a path that is neither a `.png` file nor a folder, or that cannot be written.
    """
    from gandiag.report.plots import _scores

    prepare(path, figures=True)
    parts = _drawings(found)
    real, fake = _drawn_at_random(found.real), _drawn_at_random(found.fake)
    if real is not None and fake is not None:
        parts.append(_scores.sample_drawing(real, fake))
    if _is_folder(path):
        files = {path / f"{part.name}.png": part.png() for part in parts}
    else:
        files = {path: _scores.overview(parts, title=found.reading.sentence)}
    for file, content in files.items():
        part = file.with_name(file.name + ".part")
        try:
            part.write_bytes(content)
            part.replace(file)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise UsageError(f"cannot write {file}: {error.strerror or error}; name another place") from error
    return list(files)


def _is_folder(path: Path) -> bool:
    return path.is_dir() or path.suffix == ""


def _drawings(found: Scores) -> list[Drawing]:
    from gandiag.report.plots import _scores

    return _scores.drawings(found.to_json(), real=found.real, fake=found.fake)


def _drawn(drawing: Drawing) -> Picture:
    """A figure that fails must not cost the report: the page says what happened instead."""
    from gandiag.report.plots.base import Picture

    try:
        return drawing.picture()
    except Exception as error:
        return Picture("", f"This figure could not be drawn ({type(error).__name__}: {error}); please report it.")


def _drawn_at_random(side: Shown) -> NDArray[np.uint8] | None:
    """Some pictures: the first ones of a sorted array would all be of one class."""
    if side.pictures is None or not len(side.pictures):
        return None
    count = min(SAMPLES, len(side.pictures))
    return side.pictures[np.sort(np.random.default_rng(0).choice(len(side.pictures), count, replace=False))]


def _metric_row(name: str, metrics: Json) -> Json:
    measure = metrics[name]
    return {
        "name": name,
        "measured": words.measured(measure),
        "perfect": words.perfect(measure),
        "p": short(number(measure.get("p_value"))),
        "reading": words.reading(name, measure, beside=metrics),
        "off": words.is_off(measure),
    }


def _mode_rows(modes: Json, found: Scores) -> dict[str, Any]:
    shown, left_out = words.worst_modes(modes, limit=MAX_MODES)
    pictured = len(shown) <= PICTURED_MODES and found.real.pictures is not None
    rows = [
        {
            "name": words.mode_name(mode),
            "state": str(mode.get("state")),
            "real": _share(mode, "real"),
            "fake": _share(mode, "fake"),
            "spread": _spread(mode),
            "p": short(number(mode.get("p_adjusted"))),
            "real_pictures": _exemplars(found.real, mode.get("real_indices")) if pictured else "",
            "fake_pictures": _exemplars(found.fake, mode.get("fake_indices")) if pictured else "",
        }
        for mode in shown
    ]
    return {"modes": rows, "modes_left_out": left_out, "modes_pictured": pictured}


def _share(mode: Json, side: str) -> str:
    text = percent(number(mode.get(f"{side}_share")))
    low, high = number(mode.get(f"{side}_low")), number(mode.get(f"{side}_high"))
    return f"{text} ({_digits(low)}–{_digits(high)})" if np.isfinite([low, high]).all() else text


def _spread(mode: Json) -> str:
    text = short(number(mode.get("spread_ratio")))
    low, high = number(mode.get("spread_low")), number(mode.get("spread_high"))
    return f"{text} ({short(low)}–{short(high)})" if np.isfinite([low, high]).all() else text


def _digits(share: float) -> str:
    return percent(share).removesuffix(" %")


def _exemplars(side: Shown, samples: Sequence[int] | None) -> str:
    """Pictures of a mode's exemplars as a `data:` address; empty where none of them has one."""
    from gandiag.report.plots._scores import strip

    if side.pictures is None or not samples:
        return ""
    place = {int(sample): index for index, sample in enumerate(side.samples)}
    known = [place[sample] for sample in samples if sample in place][:EXEMPLARS]
    return "data:image/png;base64," + base64.b64encode(strip(side.pictures[known])).decode("ascii") if known else ""
