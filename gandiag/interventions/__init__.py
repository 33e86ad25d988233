"""Techniques at work on an observed loop.

`engine` sits in the loop and calls the rest: `refusals` and `preparing` before training, `network` inside each
forward of D, `pairs` and `critic` (D as a function that leaves no trace) for the losses of techniques, `added` for
their parameters. What may happen where is written down in `gandiag.techniques.base`.
"""

from gandiag.interventions.engine import Interventions

__all__ = ["Interventions"]
