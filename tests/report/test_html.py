"""The diagnosis as one HTML file."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.diagnoses import HOSTILE, collapsed, healthy, mode, view

from gandiag.errors import UsageError
from gandiag.report import html


class Reader(HTMLParser):
    """Collects the elements and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_says_what_the_terminal_says() -> None:
    """Verdict, reason, onset, last healthy snapshot, readings and command lines are on the page."""
    text = Reader(html.page(view())).text
    for part in (
        "COLLAPSED 2 of 8 modes are never generated.",
        "since iteration 400",
        "last healthy snapshot 100",
        "About 39 % of the real data is never generated",
        "GD303 : Gradients were not recorded.",
        "gandiag run --enable rpgan_r1_r2:gamma=0.1 -- python train.py --lr 0.001",
    ):
        assert part in text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    """No script, no handler, no address but data: and anchors of the page itself; the policy forbids the rest."""
    elements = Reader(html.page(view())).elements
    assert {"script", "link", "iframe", "object", "embed", "form", "base"}.isdisjoint(tag for tag, _ in elements)
    for _, attributes in elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,"))
    policy = next(a["content"] for t, a in elements if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy)
    assert "script" not in str(policy)


def test_hostile_texts_are_only_text() -> None:
    """Whatever a run directory says, in any field, adds no element and no attribute to the page."""
    finding = {**collapsed()["findings"][1], **dict.fromkeys(("message", "name", "code", "confidence"), HOSTILE)}
    finding["evidence"] = {HOSTILE: HOSTILE}
    hostile = collapsed(
        run_dir=f"runs/{HOSTILE}",
        loss_family=HOSTILE,
        findings=[finding],
        modes={**collapsed()["modes"], "modes": [mode(0, "missing", name=HOSTILE), mode(1, HOSTILE)]},
        metrics={HOSTILE: collapsed()["metrics"]["coverage"]},
        skipped=[{"code": HOSTILE, "because": HOSTILE}],
        recommendations=[{"techniques": [{"name": HOSTILE, "params": {HOSTILE: HOSTILE}}], "reasons": [HOSTILE]}],
        blind_spots=[HOSTILE],
    )
    series = {HOSTILE: view().series["coverage"]}
    scalars = {**view().scalars, f"grad/d/{HOSTILE}": view().scalars["loss/d"] * 0}
    page = html.page(view(hostile, series=series, scalars=scalars, command=[HOSTILE], facts=[(HOSTILE, HOSTILE)]))
    read = Reader(page)
    assert "script" not in {tag for tag, _ in read.elements}
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in read.text
    assert "could not be drawn" not in page


@pytest.mark.parametrize("diagnosis", [healthy(), collapsed(iterations=0, modes=None, metrics={}, findings=[])])
def test_a_page_without_data_is_a_page(diagnosis: dict[str, object]) -> None:
    """A run that recorded nothing to draw still gets its verdict."""
    page = html.page(
        view(diagnosis, scalars={}, steps=(), series={}, captured=(), snapshot=None, command=None, facts=())
    )
    assert "<h1>" in page
    assert "could not be drawn" not in page


def test_a_figure_that_fails_does_not_cost_the_report() -> None:
    """The page says which fault it was, in the figure's place."""
    page = html.page(view(scalars={"iteration": [1, 2], "loss/d": ["a", "b"], "grad/d/total": [1.0]}))
    assert "could not be drawn" in page
    assert "COLLAPSED" in page


def test_both_themes_know_every_colour() -> None:
    """Each colour role of the figures has a value on the light page and one on the dark page."""
    from gandiag.report.plots._canvas import PALETTE

    style = html.page(view(snapshot=None, scalars={}, series={}, captured=()))
    light, dark = style.split("prefers-color-scheme: dark")
    assert [role for role in PALETTE if f"--{role}:" not in light or f"--{role}:" not in dark] == []


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """Folders are made; what can't be written is one message that names the file."""
    written = html.save("<p>", tmp_path / "a" / "b.html")
    assert written.read_text() == "<p>"
    assert [path.name for path in written.parent.iterdir()] == ["b.html"]
    with pytest.raises(UsageError, match="name another file"):
        html.save("<p>", written / "c.html")
