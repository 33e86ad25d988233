"""Remediation: choose techniques, retrain with each, and prove against an unmodified control that one helped.

Read in this order:

    arms.py         what is tried: the diagnosis' recommendations, and the control arm, always
    trials.py       one training as plain data, and the command line that runs it
    executors/      who runs trials: this machine, or a Ray cluster
    early_stop.py   which trainings are not worth finishing
    judge.py        one number in [0, 1] for a finished training
    halving.py      how a budget is spent on choosing
    plan.py         what would be done about a run: `prepare` reads and decides, and starts nothing
    bench.py        makes trials, has them run, scores what they leave, keeps the books
    verify.py       whether the chosen arm is really better
    flow.py         the order of it all: `execute` a plan, or `remediate` in one call
    result.py       what is handed back and written down
    snippet.py      the winner as code for the script itself

Nothing else in gandiag executes what a run directory says; `execute` does, so its caller has asked.
"""

from __future__ import annotations

from gandiag.remediate.flow import execute, remediate
from gandiag.remediate.plan import Plan, prepare
from gandiag.remediate.result import ArmResult, Remediation

__all__ = ["ArmResult", "Plan", "Remediation", "execute", "prepare", "remediate"]
