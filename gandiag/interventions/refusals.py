"""What techniques cannot do, said before training starts rather than found out after it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from gandiag.errors import TechniqueRefused
from gandiag.loop import Observer, Step
from gandiag.techniques import Technique

#: The methods of techniques that run D or change what it computes.
IN_D = ("widen", "weights", "inside", "d_input", "d_loss", "g_loss", "g_gradient", "d_term", "g_term")


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
    coupling = [t.card.name for t in techniques if t.couples]
    penalties = [t.card.name for t in techniques if t.card.layers]
    if coupling and penalties:
        raise TechniqueRefused(
            f"{penalties[0]} and {coupling[0]} must not be on together: {penalties[0]} penalises D at each sample, and "
            f"{coupling[0]} makes D mix the samples of a batch; choose one of them"
        )
    over = [t.card.name for t in techniques if t.takes_over]
    if len(over) > 1:
        raise TechniqueRefused(
            f"{over[0]} and {over[1]} must not be on together: each puts its own loss in the place of the script's; "
            "choose one of them"
        )
    reading = [t.card.name for t in techniques if t.reads_own_loss or "bce" in t.card.suits]
    reading = [name for name in reading if name not in over]
    if over and reading:
        raise TechniqueRefused(
            f"{over[0]} and {reading[0]} must not be on together: {reading[0]} changes the script's own loss, which "
            f"{over[0]} puts another one in the place of; choose one of them"
        )
    for role in ("d", "g"):
        stepping = [t.card.name for t in techniques if role in t.steps()]
        if len(stepping) > 1:
            raise TechniqueRefused(
                f"{stepping[0]} and {stepping[1]} must not be on together: each does the optimizer's step for "
                f"{role.upper()} in its own way; choose one of them"
            )


def layers(techniques: Sequence[Technique], nets: Sequence[nn.Module]) -> None:
    """Refuse a gradient penalty on a D that mixes the samples of a batch."""
    if any(t.couples is False for t in techniques):
        return
    for technique in techniques:
        for net in nets:
            bad = sorted({type(m).__name__ for m in net.modules()} & set(technique.card.layers))
            if bad:
                raise TechniqueRefused(
                    f"{technique.card.name} penalises D's slope at each sample, and {type(net).__name__} holds "
                    f"{', '.join(bad)}, which mixes the samples of a batch: replace it by layer normalisation, or "
                    "use spectral_norm, pacgan or instance_noise"
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


def chained(techniques: Sequence[Technique], unit: nn.Module) -> None:
    """Refuse a D of several nets that are called one after the other, such as a front end and a head."""
    for technique in techniques:
        if technique.has(*IN_D):
            raise TechniqueRefused(
                f"{technique.card.name} needs D to be one module, and the script calls several one after the other, "
                f"{type(unit).__name__} the last of them; put them into one module with one forward"
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


def one_optimizer(techniques: Sequence[Technique]) -> None:
    """Refuse what sets or does the step of one net where one optimizer steps both."""
    for technique in techniques:
        if technique.has("learning_rate", "options", "skips", "take_step"):
            raise TechniqueRefused(
                f"{technique.card.name} acts on the optimizer of one net, and this script steps both nets with one; "
                "give each its own"
            )
