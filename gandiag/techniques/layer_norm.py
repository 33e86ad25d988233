"""Layer normalisation in place of batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from gandiag.techniques._layers import batch_norms, check_role, in_role
from gandiag.techniques.base import Card, Inside, Technique, technique


def layer_norm(x: Float[Tensor, "n c ..."], norm: _BatchNorm) -> Float[Tensor, "n c ..."]:
    """Each sample normalised over all its channels and places, then the batch norm's own scale and shift of channels.

    Source: Ba et al. 2016, arXiv:1607.06450, Eq. 3, with one statistic for a whole sample and one scale for a channel,
    as in the code of Gulrajani et al. 2017, arXiv:1704.00028.
    """
    return functional.group_norm(x, 1, norm.weight, norm.bias, norm.eps)


@technique(
    Card(
        name="layer_norm",
        summary="Makes batch normalisation in D a layer normalisation, which judges each sample by itself.",
        treats={"GD203": 0.25, "GD301": 0.2},
        source="Ba et al. 2016, arXiv:1607.06450, Eq. 3; in D: Gulrajani et al. 2017, arXiv:1704.00028, section 4",
        seams=("networks",),
        cost=1.05,
        cautions=(
            "D no longer sees what a whole batch has in common, which is part of what keeps G from one point",
            "the running statistics in the script's checkpoints are no longer used",
        ),
        conflicts=("instance_norm", "virtual_batch_norm"),
        restart=True,
        snippet="""\
self.norm = nn.GroupNorm(1, channels)   # in place of nn.BatchNorm2d(channels); role: {role}""",
    )
)
@dataclass
class LayerNorm(Technique):
    """BatchNorm layers behave as a GroupNorm of one group, with the weight and the bias that they have.

    Attributes:
        role: in which net: "d", "g" or "both". D is where a batch does harm: a gradient penalty cannot have it.
    """

    role: str = "d"

    def check(self) -> None:
        """Refuse roles that are none."""
        check_role("layer_norm", self.role)

    @property
    def couples(self) -> bool | None:
        """Takes it out where it is in D."""
        return None if self.role == "g" else False

    def inside(self, net: nn.Module, *, role: str, generator: torch.Generator) -> dict[nn.Module, Inside]:
        """The BatchNorm layers."""
        if not in_role(self.role, role):
            return {}
        return {norm: _instead_of(norm) for norm in batch_norms("layer_norm", net)}


def _instead_of(norm: _BatchNorm) -> Inside:
    return lambda x, forward: layer_norm(x, norm)
