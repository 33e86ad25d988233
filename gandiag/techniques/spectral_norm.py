"""Spectral normalisation: divide each of D's weights by its largest singular value."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from gandiag.errors import TechniqueRefused
from gandiag.techniques._layers import LAYERS, TRANSPOSED
from gandiag.techniques.base import Beside, Card, Technique, own_weight, technique

EPSILON = 1e-12
#: Iterations before training, as torch's own parametrisation does.
WARM_UP = 15


def as_matrix(weight: Float[Tensor, ...], *, transposed: bool) -> Float[Tensor, "out rest"]:
    """A layer's weight as a matrix with one row for each output."""
    return weight.transpose(0, 1).flatten(1) if transposed else weight.flatten(1)


def power_iteration(
    matrix: Float[Tensor, "out rest"], u: Float[Tensor, " out"], v: Float[Tensor, " rest"], steps: int
) -> tuple[Float[Tensor, " out"], Float[Tensor, " rest"]]:
    """Move `u` and `v` towards the first left and right singular vectors.

    Source: Miyato et al. 2018, arXiv:1802.05957, Algorithm 1.
    """
    with torch.no_grad():
        for _ in range(steps):
            u = functional.normalize(torch.mv(matrix, v), dim=0, eps=EPSILON)
            v = functional.normalize(torch.mv(matrix.t(), u), dim=0, eps=EPSILON)
    return u, v


@technique(
    Card(
        name="spectral_norm",
        summary="Divides each weight of D by its largest singular value, which bounds D's slope.",
        treats={"GD301": 0.8, "GD201": 0.6, "GD203": 0.5, "GD303": 0.5, "GD101": 0.3, "GD104": 0.3, "GD105": 0.4},
        source="Miyato et al. 2018, arXiv:1802.05957, Algorithm 1",
        seams=("networks",),
        cost=1.65,
        cautions=(
            "D's learning rate may have to be raised",
            "the script's checkpoints keep the weights before normalisation",
        ),
        restart=True,
        snippet="""\
for layer in D.modules():
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        torch.nn.utils.parametrizations.spectral_norm(layer)""",
    )
)
@dataclass
class SpectralNorm(Technique):
    """Spectral normalisation of D's linear and convolutional layers.

    The script's modules are not touched: the normalised weights are put in place for each forward, so that
    state_dict keys, pickling and type checks stay as they were. One power iteration for each forward in
    train mode, as torch's parametrisation does.
    """

    _groups: dict[nn.Module, list[list[nn.Module]]] = field(default_factory=dict, init=False, repr=False)
    _vectors: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def prepare(self, d: nn.Module, *, beside: Beside, generator: torch.Generator) -> None:
        """Draw the singular vectors' starts from gandiag's own stream and warm them up."""
        # A layer that the script normalises itself has its weight elsewhere and stays as it is.
        layers = [layer for layer in d.modules() if isinstance(layer, LAYERS) and "weight" in layer._parameters]
        if not layers:
            raise TechniqueRefused(
                f"spectral_norm found no linear or convolutional layer in {type(d).__name__} that is not normalised "
                "already; use r1, or grad_clip against gradients that explode"
            )
        self._groups[d] = [[layer, *beside.get(layer, [])] for layer in layers]
        for group in self._groups[d]:
            matrix = _matrix(group).detach()
            u, v = (
                torch.randn(size, generator=generator, device=matrix.device, dtype=matrix.dtype)
                for size in matrix.shape
            )
            u, v = functional.normalize(u, dim=0, eps=EPSILON), functional.normalize(v, dim=0, eps=EPSILON)
            self._vectors[group[0]] = power_iteration(matrix, u, v, WARM_UP)

    def weights(self, d: nn.Module, *, training: bool, update: bool) -> dict[nn.Module, Tensor]:
        """Each layer's weight over its largest singular value; u and v are constants of the graph."""
        normalised: dict[nn.Module, Tensor] = {}
        for group in self._groups[d]:
            matrix = _matrix(group)
            u, v = self._vectors[group[0]]
            if training and update:
                u, v = self._vectors[group[0]] = power_iteration(matrix.detach(), u, v, 1)
            sigma = torch.vdot(u, torch.mv(matrix, v))
            normalised |= {layer: own_weight("spectral_norm", layer) / sigma for layer in group}
        return normalised


def _matrix(group: list[nn.Module]) -> Tensor:
    """The weights of layers that stand side by side, as one matrix."""
    transposed = isinstance(group[0], TRANSPOSED)
    blocks = [as_matrix(own_weight("spectral_norm", layer), transposed=transposed) for layer in group]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)
