"""Techniques at work on an observed loop.

`director` runs each forward of D with the networks and D-input seams, `critic` gives techniques D as a
function that leaves no trace, `engine` acts around the optimizer steps. What may happen where is written
down in `gandiag.techniques.base`.
"""

from gandiag.interventions.engine import Interventions

__all__ = ["Interventions"]
