"""Links in the documentation lead somewhere, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").glob("*.md")])

CODE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    """Each relative link of a page names a file that exists, and each `#anchor` a heading of it."""
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def prose(page: Path) -> str:
    """The text of a page without its code, in which brackets mean other things."""
    return INLINE_CODE.sub("", CODE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown viewer makes of a page's headings."""
    headings = re.findall(r"^#+ +(.*)$", CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_open_with_a_title(page: Path) -> None:
    """Each page starts with one `# Title`, so that a list of pages can be read."""
    assert page.read_text().startswith("# ")


def test_every_page_can_be_reached_from_the_index() -> None:
    """A page that nothing links to is a page that nobody reads; folders count as links to what is in them."""
    index = ROOT / "docs" / "index.md"
    seen: set[Path] = set()
    todo = [index]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in LINK.findall(prose(page)):
            there = (page.parent / target.partition("#")[0]).resolve()
            todo += [there] if there.suffix == ".md" and there.exists() else []
            todo += sorted(there.glob("*.md")) if there.is_dir() and ROOT / "docs" in there.parents else []
    missed = [name(page) for page in PAGES if ROOT / "docs" in page.parents and page not in seen]
    assert missed == []
