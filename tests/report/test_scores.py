"""Scores on the terminal, as a page, and as figures."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.diagnoses import HOSTILE, measure, mode
from rich.console import Console
from sklearn.datasets import load_digits

import gandiag
from gandiag.errors import UsageError
from gandiag.report import scores_page
from gandiag.report.plots import _scores
from gandiag.report.scores import headline, mode_facts, show
from gandiag.score import Scores


def scores(**fields: Any) -> dict[str, Any]:
    """Scores as plain data: two of eight modes are missing; `fields` replace its own."""
    states = ["missing", "ok", "under", "missing", "shrunken", "over", "ok", "ok"]
    return {
        "schema": "gandiag.scores/1",
        "reading": {
            "names": ["modes missing", "junk"],
            "because": ["2 of 8 modes are never generated", "about 9 % of the samples lie off the data"],
            "sentence": "Modes missing: 2 of 8 modes are never generated; junk: about 9 % of the samples lie ...",
            "different": ["coverage"],
        },
        "embedder": "identity",
        "reason": "a sample has 2 numbers",
        "notes": ["8-bit images were divided by 255"],
        "cautions": ["k = 5 neighbours are many"],
        "n_real": 1000,
        "n_fake": 500,
        "left_out": {"real": [], "fake": []},
        "modes": {
            "count_real": 8,
            "count_captured": 6,
            "source": "clusters",
            "modes": [mode(key, state) for key, state in enumerate(states)],
            "unassigned_share": 0.03,
        },
        "metrics": {"coverage": measure(0.59), "precision": measure(0.95), "recall": measure(None)},
        **fields,
    }


def printed(data: dict[str, Any], *, width: int = 80, **kwargs: Any) -> str:
    stream = io.StringIO()
    show(data, Console(file=stream, width=width, highlight=False), **kwargs)
    return stream.getvalue()


@pytest.fixture(scope="module")
def found() -> Scores:
    """Digits, of which the fakes lack 0."""
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, classes = images[order].reshape(-1, 1, 8, 8), classes[order]
    fake = images[600:900][classes[600:900] != 0]
    return gandiag.score(real=images[:600], fake=fake, labels=classes[:600])


@pytest.mark.parametrize("width", [80, 110])
def test_the_first_line_answers_and_the_table_explains(width: int) -> None:
    """The name, its figures, then each metric beside its null and in words, on narrow and on wide terminals."""
    text = printed(scores(), width=width)
    assert max(map(len, text.splitlines())) <= width
    flat = " ".join(text.split())
    assert flat.startswith("MODES MISSING 2 of 8 modes are never generated. Junk: about 9 % of the samples")
    for part in (
        "1,000 real samples, 500 generated",
        "0.59 (0.57–0.61) 0.96 (0.94–0.98)",
        "about 39 % of the real data is never generated",
        "6 of 8 modes captured",
        "Samples near no mode: 3.0 %",
        "In identity: a sample has 2 numbers.",
        "8-bit images were divided by 255.",
        "neighbours are many.",
    ):
        assert part in flat


def test_a_wide_terminal_has_the_words_beside_the_numbers() -> None:
    """One line a metric where there is room, and a list of what is off where there is none."""
    assert re.search(r"coverage +0\.59.*never generated", printed(scores(), width=110))
    assert "- coverage: about 39 %" in printed(scores(), width=80)
    assert "The other metrics are no different from real data." in printed(scores(), width=80)


def test_no_difference_is_told_as_such() -> None:
    """Without a name the word is that no difference was found, never that all is well."""
    reading = {"names": [], "because": [], "sentence": "No difference from the data was found.", "different": []}
    tone, word, why = headline(scores(reading=reading))
    assert (tone, word) == ("healthy", "NO DIFFERENCE FOUND")
    assert why == "Data held against data read like this."
    assert headline(scores(reading=reading, metrics={}))[2] == "No difference from the data was found."
    assert "All metrics are" in printed(scores(reading=reading, metrics={"coverage": measure(0.95)}, modes=None))


def test_metrics_beside_those_of_the_pass_have_words() -> None:
    """Bins, support and pair diversity are told in their own unit; a support without an upper end, too."""
    metrics = {
        "ndb": {"value": 0.25, "null": 0.0, "null_low": 0.0, "null_high": 0.0},
        "support": {"value": 50.0, "low": 50.0, "high": None, "null": 900.0, "null_low": 800.0, "null_high": 1000.0},
        "pair_diversity": {"value": 0.6, "low": 0.5, "high": 0.7, "null": 1.0, "null_low": 0.9, "null_high": 1.1},
    }
    text = " ".join(printed(scores(metrics=metrics), width=80).split())
    assert "ndb: 25 % of all bins have another share" in text
    assert "as if there were 50 or somewhat more different ones" in text
    assert "pair_diversity: two samples are 60 % as far apart" in text


def test_scores_without_modes_or_extras_are_printed_too() -> None:
    """Data without modes, and fields that an older file lacks."""
    bare = {"embedder": "identity", "metrics": {}, "modes": None, "reading": {"sentence": "Nothing."}}
    assert "In identity." in printed(bare)


def test_hostile_texts_neither_steer_nor_style() -> None:
    """Names of embedders and notes of users arrive as the characters they are."""
    text = printed(scores(embedder=HOSTILE, reason=HOSTILE, notes=[HOSTILE], cautions=[HOSTILE]), width=200)
    assert "\x1b[2J" not in text
    assert "\\x1b[2J" in text
    assert "[bold]" in text


def test_facts_of_a_table_are_those_that_it_has() -> None:
    """Each number of the whole table beside what a perfect generator would read; absent ones are left out."""
    assert mode_facts({}) == []
    table = {"reverse_kl": 0.5, "reverse_kl_floor": 0.01, "entropy_real": 2.1, "entropy_fake": 1.5, "count_hit": 7}
    facts = dict(mode_facts({**table, "expected_hit": 8.0, "unassigned_share": 0.0}))
    assert facts["KL of the shares"] == "0.50 nats, perfect would read 0.010"
    assert facts["modes with at least one sample"] == "7, perfect would hit 8"
    assert facts["samples near no mode"] == "0 %"
    assert facts["entropy of the shares"] == "1.50 nats, of the data 2.10"


def test_the_page_is_one_file_and_runs_nothing(found: Scores, tmp_path: Path) -> None:
    """Answer, tables, figures and exemplars; no script, no address but data: and anchors of the page itself."""
    page = found.to_html(tmp_path / "a" / "scores.html").read_text()
    assert "MODES MISSING" in page
    assert "could not be drawn" not in page
    assert "<script" not in page
    assert page.count("<svg") == 3
    assert page.count('alt="real samples of mode') == 10
    assert page.count("Real samples") + page.count("Generated samples") == 2
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)
    assert "default-src 'none'" in page


def test_hostile_texts_are_only_text_on_the_page(found: Scores) -> None:
    """What a user's embedder calls itself adds no element to the page."""
    hostile = dataclasses.replace(found, embedder=HOSTILE, notes=(HOSTILE,), cautions=(HOSTILE,))
    page = scores_page.page(hostile)
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_figures_show_what_is_in_the_scores(found: Scores) -> None:
    """A row for each metric, a bar for each mode, and its caption says how to read it."""
    data = found.to_json()
    drawn = {part.name: part for part in _scores.drawings(data, real=found.real, fake=found.fake)}
    assert list(drawn) == ["metrics", "modes", "embedding"]
    markup = drawn["metrics"].picture().markup
    assert all(name in markup for name in data["metrics"])
    assert "missing: 0 % of" in drawn["modes"].picture().markup
    assert "PCA of the real embeddings" in drawn["embedding"].picture().caption


@pytest.mark.parametrize("names", [["coverage"], ["kid"], ["coverage", "frechet"]])
def test_any_set_of_metrics_can_be_drawn(found: Scores, names: list[str]) -> None:
    """Shares alone, others alone, and values that are the same at both ends."""
    metrics = {name: measure(0.5, 0.5, width=0.0) for name in names}
    (part,) = _scores.drawings({"metrics": metrics}, real=_none(found), fake=_none(found))
    assert part.picture().markup.startswith("<svg")


def _none(found: Scores) -> Any:
    return dataclasses.replace(found.real, rows=np.empty((0, 2), dtype=np.float32), pictures=None)


def test_a_figure_that_fails_does_not_cost_the_page(found: Scores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says which fault it was, in the figure's place."""

    def fail(*_: object) -> str:
        raise RuntimeError("no")

    monkeypatch.setattr(_scores, "_modes", fail)
    page = scores_page.page(found)
    assert "could not be drawn (RuntimeError: no)" in page
    assert "MODES MISSING" in page


def test_figures_as_files(found: Scores, tmp_path: Path) -> None:
    """One .png, or a folder with one each; anything else, and what cannot be written, is refused."""
    assert found.to_png(tmp_path / "all.png") == (tmp_path / "all.png",)
    assert (tmp_path / "all.png").read_bytes()[:4] == b"\x89PNG"
    names = [path.name for path in found.to_png(tmp_path / "figures")]
    assert names == ["metrics.png", "modes.png", "embedding.png", "samples.png"]
    with pytest.raises(UsageError, match=r"no \.png file and no folder"):
        found.to_png(tmp_path / "x.jpg")
    with pytest.raises(UsageError, match="name another"):
        found.to_png(tmp_path / "all.png" / "x.png")
