"""Numbers and foreign texts as short, harmless strings.

A missing or non-finite number is spoken of as "–" or "not measured", never shown as `nan`.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

#: Unicode categories that print nothing and may do something: control, format, surrogate, private, separators.
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def number(value: Any, default: float = math.nan) -> float:
    """A float from JSON, where NaN and infinity may have become None or text."""
    if value is None or isinstance(value, bool):
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


def whole(value: Any) -> int | None:
    """An integer from JSON, or None."""
    found = number(value)
    return int(found) if math.isfinite(found) else None


def short(value: float) -> str:
    """A number for the eye: three significant digits, thousands separated, no exponent between 0.001 and a million."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-3:
        return f"{value:.1e}"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.3f}"


def percent(share: float) -> str:
    """A share as "39 %"; small ones keep a digit, and more than nothing is never shown as 0."""
    if not math.isfinite(share):
        return "–"
    value = 100 * share
    if value and abs(value) < 0.1:
        return "<0.1 %"
    return f"{value:.0f} %" if value == 0 or abs(value) >= 10 else f"{value:.1f} %"


def value_text(value: Any) -> str:
    """Any JSON value of an evidence field as one short line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not measured"
    if isinstance(value, Mapping | list | tuple) and not value:
        return "none"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return short(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {value_text(item)}" for key, item in list(value.items())[:8]) + _more(value, 8)
    if isinstance(value, list | tuple):
        return ", ".join(value_text(item) for item in value[:12]) + _more(value, 12)
    return str(value)


def _more(items: Mapping[Any, Any] | Sequence[Any], shown: int) -> str:
    return f" … ({len(items)} in all)" if len(items) > shown else ""


def sentence(text: str) -> str:
    """The text with a full stop at the end and, unless it begins with a name such as `r1:`, a capital at the start."""
    text = text.strip()
    if not text:
        return ""
    stop = "" if text[-1] in ".!?" else "."
    return (text[0].upper() + text[1:] if text.split()[0].strip(",;").isalpha() else text) + stop


def visible(text: object) -> str:
    """Text that cannot steer a terminal: control and direction-changing characters are shown as escapes."""
    return "".join(ascii(ch)[1:-1] if unicodedata.category(ch) in _UNSEEN else ch for ch in str(text))
