"""What could not be seen of a loop, in words that say what to do."""

from __future__ import annotations

import os
import sys

from gandiag.loop import Observer
from gandiag.loop.calls import Kind, Phase
from gandiag.loop.units import is_compiled
from gandiag.probes._origin import shards

#: Share of D's training calls that may stay unknown before it is worth a word.
FEW = 0.05


def blind_spots(observer: Observer, *, over: bool) -> list[str]:
    """Sentences for run.json.

    Args:
        observer: of the loop.
        over: the training has ended; what has not been seen by now will not be seen.
    """
    found = []
    for role, name in (("d", "discriminator"), ("g", "generator")):
        if over and not observer.steps[role] and not observer.steps["both"]:
            found.append(
                f"no optimizer step of the {name} was seen: does the net that was given train, and by an optimizer of "
                f"torch.optim?{'' if observer.iteration else ' So no iteration was recorded'}"
            )
    training = {
        kind: sum(n for phase, n in phases.items() if phase != Phase.NONE)
        for kind, phases in observer.tally.counts.items()
        if kind != Kind.EVAL
    }
    total, fakes = sum(training.values()), sum(training.get(kind, 0) for kind in (Kind.FAKE, Kind.CAT, Kind.PAIR))
    unknown = training.get(Kind.UNKNOWN, 0)
    if (over or observer.iteration >= 10) and total and not fakes:
        found.append(
            "no training call of the discriminator saw a sample of the generator, so that there are no samples, logits "
            "or features: were generator and discriminator given in this order, or does something without autograd "
            "(augmentation, numpy) stand between them?"
        )
    elif unknown > FEW * total:
        found.append(
            f"{unknown:,} of {total:,} training calls of the discriminator could be told neither real nor fake"
        )
    units = (unit for owner in observer.roles.g | observer.roles.d for unit in observer.units.maximal(owner))
    sharded = [name for role, name in (("g", "generator"), ("d", "discriminator")) if shards(observer.nets(role)) > 1]
    if sharded:
        found.append(
            f"{' and '.join(sharded)} sharded over ranks: the gradient norms in a rank's folder are those of its own "
            "shards, which only all ranks' folders together make whole; update/* is a mean over the shards"
        )
    if any(is_compiled(unit) for unit in units):
        found.append(
            "a net is compiled: D's features are not recorded, nor any call of a net that was compiled in place"
        )
    if observer.captured:
        found.append(
            "a CUDA graph was captured: what it replays never passes through Python, so that no step, loss or sample "
            "of it is recorded; record a run without graphs"
        )
    if unattended():
        found.append(
            "Python was started with -I, -E or -S, so that `gandiag run` did not reach this process: its options and "
            "techniques are not in force, only those of gandiag.watch in the script"
        )
    return found


def unattended() -> bool:
    """Whether `gandiag run` began this process, and Python's options kept it out."""
    flags = sys.flags
    return "GANDIAG_OPTIONS" in os.environ and bool(flags.isolated or flags.ignore_environment or flags.no_site)
