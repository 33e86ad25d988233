"""What a layer is made of, seen without asking it for its weight: that may run a parametrization."""

from __future__ import annotations

from torch import nn


def multiplies(module: nn.Module) -> bool:
    """Whether a layer multiplies by a matrix, also one that a norm or a parametrization makes of others."""
    made_of = [module._parameters.get(name) for name in ("weight", "weight_orig", "weight_v")]
    parametrized = module._modules.get("parametrizations")
    if parametrized is not None:
        made_of += [p for name, p in parametrized.named_parameters() if name.startswith("weight.original")]
    return any(p is not None and p.ndim >= 2 for p in made_of)
