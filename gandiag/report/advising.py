"""What no technique can do, in the words of terminal and report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gandiag.advice import advise
from gandiag.recommend import CONFIDENCE, SEVERITY


def advice_lines(diagnosis: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each piece of advice for a diagnosis as plain data; most diagnoses ask for none."""
    weights: dict[str, float] = {}
    for finding in diagnosis.get("findings") or []:
        weight = SEVERITY.get(finding.get("severity"), 0.0) * CONFIDENCE.get(finding.get("confidence"), 0.0)
        code = str(finding.get("code"))
        weights[code] = max(weights.get(code, 0.0), weight)
    return [(advice.name, f"{advice.summary} {advice.why} {advice.source}.") for advice in advise(weights)]
