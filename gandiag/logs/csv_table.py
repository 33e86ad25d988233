"""CSV files of losses: of PyTorch Lightning's CSVLogger, of pandas, of spreadsheets, of loops with a `csv.writer`."""

from __future__ import annotations

import codecs
import contextlib
import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gandiag.errors import RunDirError
from gandiag.logs._rows import LONGEST, Rows, lines
from gandiag.logs.base import MOST, Log, head, log_format, the_one, unreadable

TITLE = "a CSV table"
SEPARATORS = (",", "\t", ";", "|", " ")
SUFFIXES = {".csv", ".tsv", ".txt", ".log", ".dat"}
_NOTHING = {"", "none", "null", "na", "n/a", "-", "--", "<na>"}
_WORDS = {"1.#inf": "inf", "-1.#inf": "-inf", "1.#qnan": "nan", "-1.#ind": "nan", "1.#ind": "nan", "#num!": "nan"}
_TENSOR = re.compile(r"tensor\(\s*\[?\s*([-+.\w]+)")  # what `str(loss)` gives in a loop that forgot `.item()`


def sniff(path: Path) -> bool:
    """A text file whose first line has names and whose second has a number; a folder with a `.csv` in it."""
    if path.is_dir():
        return any(path.glob("*.csv"))
    start = head(path)
    if not path.is_file() or (b"\x00" in start and not start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))):
        return False
    if path.suffix.lower() in (".csv", ".tsv"):
        return True  # what is wrong with it is said when it is read
    text = _first_lines(start)
    separator = _separator(text)
    try:
        rows = list(csv.reader(text, delimiter=separator, skipinitialspace=True))
    except csv.Error:
        return False
    return len(rows) > 1 and _is_header(rows[0]) and any(_number(cell, separator) is not None for cell in rows[1])


@log_format("csv_table", title=TITLE, order=30, sniff=sniff)
def read(path: Path) -> Log:
    """Read all columns that have a known name.

    Raises:
        RunDirError: if the file cannot be read, has no header or no row.
    """
    file = the_one(sorted(path.glob("*.csv")), path, "CSV files") if path.is_dir() else path
    try:
        return _read(file).log(path, TITLE)
    except OSError as error:
        raise unreadable(file, error) from None
    except csv.Error as error:
        raise RunDirError(f"{file} is no CSV table ({error}): check its quotes, or write it again") from None


def _read(path: Path) -> Rows:
    start = head(path)
    separator = _separator(_first_lines(start))
    rows, ragged, unreadable_cells = Rows(), 0, 0
    with path.open(encoding=_encoding(start), errors="replace", newline="") as file, _long_cells():
        table = csv.reader(_content(lines(file, path)), delimiter=separator, skipinitialspace=True)
        names = _names(next(table, []), path)
        tail = _Tail(names, rows)
        for cells in table:
            if cells == names or not any(cell.strip() for cell in cells):
                continue  # a header once more, as a script that was started again writes it
            if len(cells) > len(names):
                ragged += 1
                continue
            measured = {}
            for name, cell in zip(names, cells, strict=False):
                value = _number(cell, separator)
                if value is not None:
                    measured[name] = value
                elif rows.keeps(name) and cell.strip().lower() not in _NOTHING:
                    unreadable_cells += 1
            tail.see(measured)
            rows.add(measured.items())
    tail.read_as_nan()
    if ragged:
        rows.notes.append(f"{ragged} rows with more cells than the header were left out")
    if unreadable_cells:
        rows.notes.append(f"{unreadable_cells} cells that are no numbers were left out")
    return rows


class _Tail:
    """Finds NaN that was written as an empty cell, as pandas does.

    That is a column that was filled up to some row and then never again, in rows that otherwise look as before.
    A gap before the end may be anything: Lightning writes a row for each call of `log`, and the rows of other calls
    have other cells filled, by which they are told apart.
    """

    def __init__(self, names: list[str], rows: Rows) -> None:
        self._rows = rows
        self._kept = [name for name in names if rows.keeps(name)]
        self._others = frozenset(names) - frozenset(self._kept)
        self._last = dict.fromkeys(self._kept, 0)
        self._filled = dict.fromkeys(self._kept, 0)
        self._company: dict[str, set[frozenset[str]]] = {name: set() for name in self._kept}
        self._empty: dict[str, list[int]] = {name: [] for name in self._kept}

    def see(self, measured: Mapping[str, float]) -> None:
        """Look at one row before it is added."""
        row, others = self._rows.next, self._others.intersection(measured)
        for name in self._kept:
            if name in measured:
                self._filled[name] += 1
                self._last[name] = row
                if self._empty[name]:
                    self._empty[name] = []
                if len(self._company[name]) < 64:
                    self._company[name].add(others)
            elif others in self._company[name] and len(self._empty[name]) < MOST:
                self._empty[name].append(row)

    def read_as_nan(self) -> None:
        """Give those cells their NaN."""
        names = []
        for name, empty in self._empty.items():
            if len(empty) >= 3 and self._filled[name] > 0.9 * self._last[name]:
                names.append(name)
                for row in empty:
                    self._rows.repair(name, row, float("nan"))
        if names:
            self._rows.notes.append(
                f"{', '.join(map(repr, names))}: empty from some row to the end, after being filled in every row; read "
                "as NaN, which pandas and others write as an empty cell"
            )


def _encoding(start: bytes) -> str:
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _first_lines(start: bytes) -> list[str]:
    lines = _content(start.decode(_encoding(start), errors="replace").splitlines())
    return [line for line in itertools.islice(lines, 40) if line.strip()][:20]


def _content(text: Iterable[str]) -> Iterator[str]:
    """Without comment lines, but for a header behind a `#`, as numpy.savetxt writes it."""
    for number, line in enumerate(itertools.dropwhile(lambda line: not line.strip(), text)):
        if not line.startswith("#"):
            yield line
        elif number == 0:
            yield line.lstrip("# ")


def _separator(text: list[str]) -> str:
    """The character that cuts the first lines into the same number of cells, and into most."""
    if not text:
        return ","

    def quality(separator: str) -> tuple[float, int]:
        try:
            widths = [len(row) for row in csv.reader(text, delimiter=separator, skipinitialspace=True)]
        except csv.Error:
            return 0.0, 0
        alike = sum(width == widths[0] for width in widths) / len(widths)
        return (alike if widths[0] > 1 else 0.0, widths[0])

    # A space is a separator of last resort: it also stands behind commas and inside of names.
    best = max(SEPARATORS[:-1], key=quality)
    return best if quality(best)[0] > 0.5 else " " if quality(" ")[0] > 0.5 else ","


def _names(cells: list[str], path: Path) -> list[str]:
    """The header's names, the second of two equal ones with a number behind it."""
    if not cells:
        raise RunDirError(f"{path} is an empty file: nothing was logged there")
    if not _is_header(cells):
        raise RunDirError(f"{path} has no header: its first line must name the columns, as in 'step,loss_D,loss_G'")
    names: list[str] = []
    for cell in (cell.strip() for cell in cells):
        names.append(cell if cell not in names else f"{cell} ({names.count(cell) + 1})")
    return names


def _is_header(cells: list[str]) -> bool:
    numbers = sum(_number(cell, ",") is not None for cell in cells)
    return 2 * numbers <= len(cells) and any(re.search(r"[^\W\d_]", cell) for cell in cells)


def _number(cell: str, separator: str) -> float | None:
    """The number in a cell, or None where there is none."""
    cell = cell.strip().strip("\"'")
    cell = _WORDS.get(cell.lower(), cell)
    tensor = _TENSOR.match(cell)
    if tensor:
        cell = tensor[1]
    if separator != "," and cell.count(",") == 1 and "." not in cell:
        cell = cell.replace(",", ".")  # a spreadsheet that speaks German writes 0,69
    try:
        return float(cell)
    except ValueError:
        return None


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    """The csv module's limit of a cell is global, and another library may have lowered it."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)
