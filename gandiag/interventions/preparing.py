"""What happens once for each net, before its first forward: find D's ends, widen it, change layers, try it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from gandiag.errors import TechniqueRefused
from gandiag.interventions.arguments import first_leaf, map_tensors, replace_samples, samples
from gandiag.interventions.network import Changes, call_net, preserved
from gandiag.loop.calls import leaves
from gandiag.techniques import Beside, Ends, Inside, Technique


def prepare_g(
    net: nn.Module, args: Any, kwargs: Any, techniques: list[Technique], *, generator: torch.Generator
) -> Changes:
    """Everything before a generator's first forward, whose arguments are given: `inside`, and a trial.

    Raises:
        TechniqueRefused: the net's forward does not go through, or gives other shapes, with the changes in place.
    """
    with preserved([net], next(net.parameters()).device):
        inside, acting = _inside(net, "g", techniques, generator)
        changes = Changes(net, techniques, None, inside, acting, of_d=False)
        if changes.inside:
            _try(changes, args, kwargs, generator)
    return changes


def prepare(
    net: nn.Module,
    args: Any,
    kwargs: Any,
    techniques: list[Technique],
    *,
    generator: torch.Generator,
    shared: torch.Generator,
) -> Changes:
    """Everything before a discriminator's first forward: `widen`, `prepare`, `inside`, and a trial.

    Args:
        net: a discriminator.
        args: of its first call.
        kwargs: of its first call.
        techniques: all that are on.
        generator: gandiag's own random stream.
        shared: one that is alike on all ranks, for weights and vectors.

    Raises:
        TechniqueRefused: the net's forward does not go through, or gives other shapes, with the changes in place.
    """
    widening = [t for t in techniques if t.has("widen")]
    with preserved([net], next(net.parameters()).device):
        ends = None
        if widening or any(t.reads_features for t in techniques):
            ends = find_ends(net, args, kwargs)
            for technique in widening:
                technique.widen(ends, generator=shared)
        beside = _joined(technique.beside() for technique in techniques)
        for technique in techniques:
            technique.prepare(net, beside=beside, generator=shared)
        inside, acting = _inside(net, "d", techniques, generator)
        acting += [t.card.name for t in techniques if t.has("weights", "stem", "head") and t.card.name not in acting]
        changes = Changes(net, techniques, ends, inside, acting)
        if widening or changes.inside:
            _try(changes, args, kwargs, generator)
    return changes


def _inside(
    net: nn.Module, role: str, techniques: list[Technique], generator: torch.Generator
) -> tuple[dict[nn.Module, list[Inside]], list[str]]:
    """What is done in which layer, and by which techniques."""
    joined: dict[nn.Module, list[Inside]] = {}
    acting = []
    for technique in techniques:
        found = technique.inside(net, role=role, generator=generator)
        for layer, change in found.items():
            joined.setdefault(layer, []).append(change)
        if found:
            acting.append(technique.card.name)
    return joined, acting


def _joined(parts: Iterable[Beside]) -> Beside:
    joined: Beside = {}
    for part in parts:
        for layer, added in part.items():
            joined.setdefault(layer, []).extend(added)
    return joined


def _try(changes: Changes, args: Any, kwargs: Any, generator: torch.Generator) -> None:
    stream = generator.get_state()
    args, kwargs = map_tensors(tuple(args), torch.clone), map_tensors(dict(kwargs), torch.clone)
    names = " and ".join(t.card.name for t in changes.techniques if t.has("widen", "inside"))
    net = type(changes.net).__name__
    with torch.no_grad():
        plain = call_net(changes.net, *args, **kwargs)
        try:
            changed = changes.run(args, kwargs, forward=call_net, update=False)
        except (RuntimeError, ValueError) as error:
            raise TechniqueRefused(
                f"{names} cannot be put into {net}: its forward then fails with {error!r}. Other inputs of "
                "the net, such as labels, must enter with the samples before the first layer; use rpgan_r1_r2, or "
                "write it into the script"
            ) from None
        finally:
            generator.set_state(stream)  # what is drawn in a trial is not drawn
    before, after = ([tuple(leaf.shape) for leaf in leaves(output)] for output in (plain, changed))
    if before != after:
        raise TechniqueRefused(
            f"{names} cannot be put into {net}: its output would have the shapes {after} in place of {before}; "
            "use rpgan_r1_r2, or write it into the script"
        )


def find_ends(net: nn.Module, args: Any, kwargs: Any) -> Ends:
    """Learn a net's first and last layer from one forward.

    The first layer that the samples enter, and the last one that they pass on their way to the first output: a layer
    for the labels, which may run before or after all others (a projection discriminator's does), or a classifier's
    head that runs after, is neither. Call it inside `preserved`.

    The hook is a global one for the time of the call: a hook on the modules would stay behind in copies.
    """
    layers: list[tuple[nn.Module, Tensor]] = []
    inside = {id(m) for m in net.modules()}

    def note(module: nn.Module, args: Any, output: Any) -> None:
        weight = getattr(module, "weight", None)  # not only a parameter: spectral norm computes it
        if id(module) in inside and isinstance(weight, Tensor) and weight.ndim >= 2 and isinstance(output, Tensor):
            layers.append((module, output))

    x = samples(args, kwargs)
    if x is not None:
        x = x.detach().requires_grad_()
        args, kwargs = replace_samples(args, kwargs, x.clone())
    handle = register_module_forward_hook(note)
    try:
        with torch.enable_grad():
            score = first_leaf(call_net(net, *args, **kwargs))
    finally:
        handle.remove()
    passed = [(layer, output) for layer, output in layers if x is not None and _depends(output, x)]
    stem = next((layer for layer, _ in passed), None)
    head = next((layer for layer, output in reversed(passed) if _depends(score, output)), None)
    if stem is None or head is None:
        raise TechniqueRefused(
            f"{type(net).__name__} calls no layer with a weight matrix between its input and its output (it may use "
            "torch.nn.functional with its own parameters), so its first and last layer cannot be found; write the "
            "technique into the script"
        )
    return Ends(stem, head)


def _depends(result: Tensor, source: Tensor) -> bool:
    """Whether a gradient can flow from `result` back to `source`."""
    if not (result.requires_grad and source.requires_grad):
        return False
    with torch.enable_grad():  # the script's first call of D may be one without
        (gradient,) = torch.autograd.grad(result.sum(), source, retain_graph=True, allow_unused=True)
    return gradient is not None
