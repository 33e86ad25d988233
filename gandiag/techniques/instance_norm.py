"""Instance normalisation in place of batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from gandiag.errors import TechniqueRefused
from gandiag.techniques._layers import batch_norms, check_role, in_role
from gandiag.techniques.base import Card, Inside, Technique, technique


def instance_norm(x: Float[Tensor, "n c ..."], norm: _BatchNorm) -> Float[Tensor, "n c ..."]:
    """Each channel of each sample normalised over its places, then the batch norm's own scale and shift.

    Source: Ulyanov et al. 2016, arXiv:1607.08022, Eq. 4.

    Raises:
        TechniqueRefused: a channel of a sample is one number, which would become zero.
    """
    if x.shape[2:].numel() == 1:
        raise TechniqueRefused(
            "instance_norm normalises each channel of a sample over its places, and a BatchNorm layer was given "
            f"{tuple(x.shape)}, one number a channel; use layer_norm"
        )
    return functional.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=norm.eps)


@technique(
    Card(
        name="instance_norm",
        summary="Makes batch normalisation in D an instance normalisation: each channel of a sample by itself.",
        treats={"GD203": 0.2, "GD301": 0.15},
        source="Ulyanov et al. 2016, arXiv:1607.08022, Eq. 4",
        seams=("networks",),
        cost=1.1,
        cautions=(
            "it takes away how bright, or how strong, a channel is as a whole, which D may need",
            "images and sequences alone: behind linear layers a channel is one number",
            "the running statistics in the script's checkpoints are no longer used",
        ),
        conflicts=("layer_norm", "virtual_batch_norm"),
        restart=True,
        snippet="""\
self.norm = nn.InstanceNorm2d(channels, affine=True)   # in place of nn.BatchNorm2d(channels); role: {role}""",
    )
)
@dataclass
class InstanceNorm(Technique):
    """BatchNorm layers behave as an InstanceNorm, with the weight and the bias that they have.

    Attributes:
        role: in which net: "d", "g" or "both".
    """

    role: str = "d"

    def check(self) -> None:
        """Refuse roles that are none."""
        check_role("instance_norm", self.role)

    @property
    def couples(self) -> bool | None:
        """Takes it out where it is in D."""
        return None if self.role == "g" else False

    def inside(self, net: nn.Module, *, role: str, generator: torch.Generator) -> dict[nn.Module, Inside]:
        """The BatchNorm layers."""
        if not in_role(self.role, role):
            return {}
        return {norm: _instead_of(norm) for norm in batch_norms("instance_norm", net)}


def _instead_of(norm: _BatchNorm) -> Inside:
    return lambda x, forward: instance_norm(x, norm)
