"""One technique a file: the maths as a pure function, a small class, and its card.

`TECHNIQUES` finds them by scanning this folder. `base.py` says what a technique is and where it may act.
"""

from gandiag.techniques.base import (
    TECHNIQUES,
    Batch,
    Beside,
    Card,
    Critic,
    Ends,
    Inside,
    Latent,
    OwnLoss,
    Technique,
    as_text,
    parse,
)

__all__ = [
    "TECHNIQUES",
    "Batch",
    "Beside",
    "Card",
    "Critic",
    "Ends",
    "Inside",
    "Latent",
    "OwnLoss",
    "Technique",
    "as_text",
    "parse",
]
