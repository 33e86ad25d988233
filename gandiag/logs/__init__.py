"""Logs that gandiag did not write: one format a file, each turned into the columns that the analyzers know.

To add a format: a module here with a function `sniff` and one under `@log_format(...)`, a test in `tests/logs/`, and a
page in `docs/reference/logs/`. Nothing else: the folder is scanned.
"""

from gandiag.logs._evidence import LogEvidence
from gandiag.logs._limits import limits, read_as
from gandiag.logs._table import Table, tabulate
from gandiag.logs.base import FORMATS, Log, Series, find, formats_in_words

__all__ = [
    "FORMATS",
    "Log",
    "LogEvidence",
    "Series",
    "Table",
    "find",
    "formats_in_words",
    "limits",
    "read_as",
    "tabulate",
]
