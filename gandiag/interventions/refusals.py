"""What techniques cannot do, said before training starts rather than found out after it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from gandiag.errors import TechniqueRefused
from gandiag.loop import Observer, Step
from gandiag.techniques import Technique

#: The methods of techniques that run D or change what it computes.
IN_D = ("widen", "weights", "d_input", "d_loss", "g_loss")


def conflicts(techniques: Sequence[Technique]) -> None:
    """Refuse techniques that must not be on together, and the same one twice."""
    names = [t.card.name for t in techniques]
    for technique in techniques:
        if names.count(technique.card.name) > 1:
            raise TechniqueRefused(f"{technique.card.name} was asked for twice; give it once, with all its parameters")
        both = sorted(set(technique.card.conflicts) & set(names))
        if both:
            raise TechniqueRefused(
                f"{technique.card.name} and {both[0]} must not be on together; choose one of them "
                f"(`gandiag techniques {technique.card.name}` says why)"
            )


def layers(techniques: Sequence[Technique], nets: Sequence[nn.Module]) -> None:
    """Refuse a gradient penalty on a D that mixes the samples of a batch."""
    for technique in techniques:
        for net in nets:
            bad = sorted({type(m).__name__ for m in net.modules()} & set(technique.card.layers))
            if bad:
                raise TechniqueRefused(
                    f"{technique.card.name} penalises D's slope at each sample, and {type(net).__name__} holds "
                    f"{', '.join(bad)}, which mixes the samples of a batch: replace it by layer normalisation, or "
                    "use spectral_norm, pacgan or instance_noise"
                )


def ranks(techniques: Sequence[Technique]) -> None:
    """Refuse training over several ranks: gandiag's own gradients are not reduced over them yet."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    size = torch.distributed.get_world_size()
    for technique in techniques:
        if size > 1 and technique.has("widen", "weights", "d_loss", "g_loss"):
            raise TechniqueRefused(
                f"{technique.card.name} runs D by itself, and over {size} ranks its gradients would not be reduced; "
                "train on one rank, or write it into the script"
            )


def precision(techniques: Sequence[Technique], device: torch.device) -> None:
    """Refuse mixed precision where gandiag's own gradients would lack the script's loss scale."""
    if not torch.is_autocast_enabled(device.type):
        return
    for technique in techniques:
        if technique.has("widen", "d_loss", "g_loss"):
            raise TechniqueRefused(
                f"{technique.card.name} adds gradients of its own, and D runs under autocast: their scale would not be "
                "the script's; train in full precision, or use spectral_norm, instance_noise, ema, ttur or grad_clip"
            )


def parts(techniques: Sequence[Technique], unit: nn.Module, observer: Observer) -> None:
    """Refuse a D that the script calls in parts, such as `D.features(x)` and then `D.head(h)`."""
    mine = {id(p) for p in unit.parameters()}
    for net in observer.nets("d"):
        whole = {id(p) for p in net.parameters()}
        if mine < whole:
            for technique in techniques:
                if technique.has(*IN_D):
                    raise TechniqueRefused(
                        f"{technique.card.name} needs {type(net).__name__} to be called as a whole, and the script "
                        f"calls its {type(unit).__name__} by itself; give D one forward that does it all"
                    )


def unlabelled(technique: Technique, step: Step) -> TechniqueRefused:
    """The error for a D step of which the real and the fake samples are not both known."""
    kinds = ", ".join(str(call.kind) for call in step.calls) or "none"
    return TechniqueRefused(
        f"{technique.card.name} needs to know which of D's calls saw real and which saw fake samples, and "
        f"D's first step was fed by these calls: {kinds}. Augmentation between G and D without autograd "
        "hides where a sample came from; apply it inside D, or turn on a technique that needs no labels "
        "(spectral_norm, instance_noise, pacgan)"
    )


def own_penalty(techniques: Sequence[Technique], step: Step) -> None:
    """Refuse packs where the script penalises D's slope at each sample by itself."""
    for technique in techniques:
        if technique.pack > 1 and any(call.inside_grad for call in step.calls):
            raise TechniqueRefused(
                f"{technique.card.name} makes D judge {technique.pack} samples at a time, and the script's own "
                "gradient penalty is taken at each sample by itself: the two do not fit; take the penalty out and "
                "turn on rpgan_r1_r2 or wgan_gp, which know of packs"
            )
