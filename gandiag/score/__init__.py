"""Two sets of samples in; every metric with its null, the fate of each mode, and the name of what is wrong out.

Read in this order:

    flow.py       the verb: `score`
    sources.py    what users hand over, as blocks of tensors: arrays, memory maps, streams of batches
    gather.py     blocks embedded, and small pictures of them kept
    chance.py     which metrics are further from their nulls than chance explains
    reading.py    the name of a failure, from metrics beside their nulls
    phrases.py    the figures behind that name, in words
    result.py     what is handed back
"""

from __future__ import annotations

from gandiag.score.flow import score
from gandiag.score.reading import Reading, judge
from gandiag.score.result import Scores

__all__ = ["Reading", "Scores", "judge", "score"]
