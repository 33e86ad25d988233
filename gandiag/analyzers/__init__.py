"""One rule a file: each reads what a run recorded and yields findings, or says why it cannot judge.

To add a rule: a module here (`gd106_latent_ignored.py`) with one function under `@analyzer("GD106", ...)`,
a test in `tests/analyzers/`, and a page `docs/reference/analyzers/GD106-latent-ignored.md`. Nothing else.
"""

from gandiag.analyzers._loss_family import Outputs, infer_loss_family
from gandiag.analyzers.base import ANALYZERS, Analyzer, Evidence, Finding, Skipped, analyzer

__all__ = ["ANALYZERS", "Analyzer", "Evidence", "Finding", "Outputs", "Skipped", "analyzer", "infer_loss_family"]
