"""What could not be seen of a loop, in words that say what to do."""

from __future__ import annotations

from torch import nn

from gandiag.loop import Observer
from gandiag.loop.calls import Kind, Phase

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
    if any(is_compiled(unit) for unit in units):
        found.append(
            "a net is compiled: D's features are not recorded, nor any call of a net that was compiled in place"
        )
    return found


def is_compiled(net: nn.Module) -> bool:
    """Whether `net` or a part of it runs through torch.compile, wrapped by it or in place by `net.compile()`."""
    return any(
        type(m).__name__ == "OptimizedModule"
        or (m._compiled_call_impl is not None and getattr(m._compiled_call_impl, "compiled", True))
        for m in net.modules()
    )
