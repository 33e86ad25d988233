"""Latent sensitivity: how much the outputs of a generator differ, for how much their latents differ.

The ratio is the one that mode seeking GANs maximise: Mao et al. 2019, arXiv:1903.05628, `d(G(z1), G(z2)) / d(z1, z2)`,
there with the mean absolute difference for both distances. A ratio has the units of pixels over units of latents, so
it is also given *relative* to how far unrelated outputs are apart: 0 for a generator that ignores its latent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics._checks import Samples, samples
from gandiag.metrics._pairs import some_pairs
from gandiag.metrics._untouched import evaluated, streams_kept

_AT_A_TIME = 2**20  # numbers of pairs of outputs that are compared at a time


@dataclass(frozen=True)
class LatentSensitivity:
    """How outputs follow latents. Distances are power means of the coordinates' differences, of the order asked for.

    Attributes:
        relative: `ratio` over `typical_output / typical_latent`. 0: the latent is ignored. 1: a small change of the
            latent changes the output as much, for its size, as a change to any other latent, as of a linear generator.
            NaN where nothing was given that it could be relative to.
        ratio: mean over pairs of output distance over latent distance, as in mode seeking; its size depends on the
            ranges of both.
        output_distance: mean over the pairs.
        latent_distance: mean over the pairs.
        typical_output: mean distance of unrelated outputs, or of the rows of `reference`.
        typical_latent: mean distance of unrelated latents.
        pairs: how many.
    """

    relative: float
    ratio: float
    output_distance: float
    latent_distance: float
    typical_output: float
    typical_latent: float
    pairs: int


def latent_sensitivity(
    z: Samples,
    outputs: Samples,
    *,
    labels: Tensor | None = None,
    reference: Samples | None = None,
    order: float = 1.0,
    pairs: int = 10_000,
    seed: int = 0,
) -> LatentSensitivity:
    """From latents and outputs that were recorded together.

    Unrelated latents are all about equally far apart, so this sees that outputs differ too little, but not whether
    it is the latent that they follow: a generator with noise of its own passes. `latent_sensitivity_of` sees it.

    Args:
        z: latents, `[n, ...]`.
        outputs: what the generator made of them, `[n, ...]`.
        labels: `[n]` integer conditions: pairs are then of one condition, and relative to pairs of any.
        reference: data `[m, ...]` like the outputs, to be relative to instead. Without either, `relative` is NaN.
        order: of the distances, from 1 (mean absolute difference) by 2 (root mean square) to `inf` (largest).
        pairs: how many, drawn at random without repetition.
        seed: for the pairs. No global random stream is touched.

    Raises:
        ShapeError: counts or widths differ, fewer than 2 rows, or rows are not finite.
        UsageError: no two latents of a pair differ, no two rows are of one condition, or `order` or `pairs` is below 1.
    """
    z, outputs = _flat(z, "z", order), _flat(outputs, "outputs", order)
    if len(z) != len(outputs):
        raise ShapeError(f"z has {len(z)} rows and outputs has {len(outputs)}; give those that belong together")
    conditions = torch.zeros(len(z), dtype=torch.int64) if labels is None else torch.as_tensor(labels).cpu()
    if conditions.shape != (len(z),) or conditions.is_floating_point():
        raise ShapeError(f"labels must hold one integer for each of {len(z)} rows, got {list(conditions.shape)}")
    related = torch.from_numpy(some_pairs(conditions.long().numpy(), pairs=pairs, seed=seed))
    anyhow = torch.from_numpy(some_pairs(np.zeros(len(z), dtype=np.int64), pairs=pairs, seed=seed + 1))
    if reference is not None:
        typical = _typical(reference, outputs.shape[1], order, pairs=pairs, seed=seed)
    else:
        typical = math.nan if labels is None else float(_over_pairs(outputs, anyhow, order).mean())
    return _sensitivity(
        _over_pairs(outputs, related, order),
        _over_pairs(z, related, order),
        typical_output=typical,
        typical_latent=float(_over_pairs(z, anyhow, order).mean()),
    )


def latent_sensitivity_of(
    generator: Callable[..., Any],
    z: Tensor,
    *conditions: Tensor,
    module: nn.Module | None = None,
    reference: Samples | None = None,
    step: float = 0.1,
    order: float = 1.0,
    batch: int = 256,
    seed: int = 0,
) -> LatentSensitivity:
    """By asking the generator what a small change of the latent changes, all else equal, its own noise included.

    Each latent goes `step` of the way to another one of `z`, so that it stays where latents are, whatever they are. The
    generator is left as it was: evaluation mode for the calls only, no gradients, buffers and random streams put back.

    Without `reference` a generator that is collapsed to a point but for a rounding reads like a healthy one, since
    the only outputs it can be compared with are its own. Give data where there are any.

    Args:
        generator: called as `generator(z, *conditions)` on rows; returns one tensor `[rows, ...]`.
        z: latents, floating-point `[n, ...]`, on the generator's device.
        conditions: what else it is called with: tensors of n rows, equal for both calls.
        module: what `generator` runs, where it is a function around a module; itself where it is a module.
        reference: data `[m, ...]` like the outputs, to be relative to; without it, the outputs of unrelated latents.
        step: how far to the other latent, above 0 and at most 1.
        order: of the distances, see `latent_sensitivity`.
        batch: about how many rows the generator is called with.
        seed: for which latent goes to which. No global random stream is touched.

    Raises:
        ShapeError: z has fewer than 2 rows or no floating-point ones, conditions of another length, outputs that are
            not one finite tensor of as many rows.
        UsageError: `step`, `order` or `batch` is out of range, or all latents are the same.
    """
    if not 0 < step <= 1 or batch < 2:
        raise UsageError(f"step must be above 0 and at most 1, and batch at least 2; got step={step}, batch={batch}")
    if not z.is_floating_point() or z.ndim == 0 or len(z) < 2:
        raise ShapeError(f"z must be at least 2 rows of floating-point latents, got {z.dtype} {list(z.shape)}")
    if any(len(condition) != len(z) for condition in conditions):
        raise ShapeError(f"z has {len(z)} rows and conditions have {[len(c) for c in conditions]}; give one for each")
    whole = module if module is not None else generator if isinstance(generator, nn.Module) else nn.Module()
    apart: dict[str, list[Tensor]] = {"outputs": [], "latents": [], "other outputs": [], "other latents": []}
    shuffled = torch.from_numpy(np.random.default_rng(seed).permutation(len(z)))
    with evaluated(whole), streams_kept():
        for part in shuffled.tensor_split(max(1, len(z) // batch)):
            here = part.to(z.device)
            rows, given = z[here], [condition[part.to(condition.device)] for condition in conditions]
            moved = torch.lerp(rows, rows.roll(1, dims=0), step)
            with streams_kept():  # so that both calls see the same noise
                after = _flat(_called(generator, moved, given), "what the generator returned", order)
            before = _flat(_called(generator, rows, given), "what the generator returned", order)
            latents = _flat(rows, "z", order)
            apart["outputs"].append(_distances(before, after, order))
            apart["latents"].append(_distances(latents, _flat(moved, "z", order), order))
            apart["other outputs"].append(_distances(before, before.roll(1, dims=0), order))
            apart["other latents"].append(_distances(latents, latents.roll(1, dims=0), order))
    found = {name: torch.cat(distances) for name, distances in apart.items()}
    own = float(found["other outputs"].mean())
    typical = own if reference is None else _typical(reference, before.shape[1], order, pairs=10_000, seed=seed)
    return _sensitivity(
        found["outputs"],
        found["latents"],
        typical_output=typical,
        typical_latent=float(found["other latents"].mean()),
    )


def _sensitivity(
    outputs: Float[Tensor, " p"], latents: Float[Tensor, " p"], *, typical_output: float, typical_latent: float
) -> LatentSensitivity:
    outputs, latents = outputs.cpu(), latents.cpu()
    differ = latents > 0
    if not bool(differ.any()):
        raise UsageError("the latents of all pairs are the same, so nothing can follow them; give different ones")
    ratio = float((outputs[differ] / latents[differ]).mean())
    if ratio == 0 or typical_output == 0:
        relative = 0.0 if ratio == 0 else math.inf
    else:
        relative = ratio * typical_latent / typical_output
    return LatentSensitivity(
        relative=math.nan if math.isnan(typical_output) else relative,
        ratio=ratio,
        output_distance=float(outputs.mean()),
        latent_distance=float(latents.mean()),
        typical_output=typical_output,
        typical_latent=typical_latent,
        pairs=len(outputs),
    )


def _typical(reference: Samples, width: int, order: float, *, pairs: int, seed: int) -> float:
    rows = _flat(reference, "reference", order)
    if rows.shape[1] != width:
        raise ShapeError(
            f"reference has {rows.shape[1]} numbers a row and outputs have {width}; give data like outputs"
        )
    chosen = some_pairs(np.zeros(len(rows), dtype=np.int64), pairs=pairs, seed=seed)
    return float(_over_pairs(rows, torch.from_numpy(chosen), order).mean())


def _over_pairs(x: Tensor, pairs: Tensor, order: float) -> Tensor:
    first, second = pairs.to(x.device).unbind(dim=1)
    step = max(1, _AT_A_TIME // x.shape[1])
    parts = [slice(start, start + step) for start in range(0, len(pairs), step)]
    return torch.cat([_distances(x[first[part]], x[second[part]], order) for part in parts])


def _distances(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], order: float) -> Float[Tensor, " n"]:
    """Row by row, over the coordinates' number to the order, so that it does not grow with their number."""
    differences = a.double() - b.double()
    distances: Tensor = torch.linalg.vector_norm(differences, ord=order, dim=1) / a.shape[1] ** (1 / order)
    return distances


def _flat(x: Samples, name: str, order: float) -> Tensor:
    if not order >= 1:
        raise UsageError(f"order must be at least 1 (inf is allowed), got {order}")
    array = x if isinstance(x, Tensor) else np.asarray(x)
    if array.ndim == 0:
        raise ShapeError(f"{name} must have rows, but is a single number")
    return samples(array.reshape(len(array), -1) if len(array) else array, name=name, rows=2)


def _called(generator: Callable[..., Any], rows: Tensor, conditions: list[Tensor]) -> Tensor:
    made = generator(rows, *conditions)
    if not isinstance(made, Tensor) or made.ndim == 0 or len(made) != len(rows):
        what = f"shape {list(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise ShapeError(
            f"the generator made {what} of {len(rows)} latents; wrap it in a function that returns one tensor with a "
            "row for each, and give the module itself as module="
        )
    return made
