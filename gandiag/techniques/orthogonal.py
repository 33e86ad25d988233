"""Orthogonal regularisation: the filters of a layer are pushed towards right angles to each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused
from gandiag.techniques._layers import LAYERS, TRANSPOSED
from gandiag.techniques._weights import check_strengths
from gandiag.techniques.base import Card, Technique, technique
from gandiag.techniques.spectral_norm import as_matrix


def overlap(matrix: Float[Tensor, "out rest"]) -> Float[Tensor, ""]:
    """Squared Frobenius norm of W W^T without its diagonal, 0-dim: 0 where all rows are at right angles.

    The lengths of the rows are free, unlike in the older penalty on W W^T - I.
    Source: Brock et al. 2019 (BigGAN), arXiv:1809.11096, Eq. 3, without its factor beta; rows are the layer's outputs,
    as in the authors' code.
    """
    products = matrix @ matrix.t()
    return (products - torch.diag_embed(products.diagonal())).square().sum()


@technique(
    Card(
        name="orthogonal",
        summary="Adds beta times the squared overlap of each layer's filters to G's loss, to D's or to both.",
        treats={"GD301": 0.2},
        source="Brock et al. 2019 (BigGAN), arXiv:1809.11096, Eq. 3",
        seams=("gradients",),
        cost=1.45,
        cautions=(
            "made for G, so that it can be sampled with truncated latents; against lost modes nothing was shown",
            "the authors' PyTorch code leaves it off by default, and where on it takes half the gradient of Eq. 3",
        ),
        snippet="""\
for layer in G.modules():   # and D's, with {d}
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        products = layer.weight.flatten(1) @ layer.weight.flatten(1).t()
        loss_g = loss_g + {g} * (products - products.diagonal().diag()).square().sum()""",
    )
)
@dataclass
class Orthogonal(Technique):
    """Orthogonal regularisation of linear and convolutional layers.

    Attributes:
        d: beta on D, 0 for none.
        g: beta on G, likewise.
    """

    d: float = 0.0
    g: float = 1e-4

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        check_strengths("orthogonal", d=self.d, g=self.g)

    def weights_loss(self, *, role: str, nets: list[nn.Module]) -> Tensor | None:
        """Beta * the overlap of each layer's rows."""
        beta = self.d if role == "d" else self.g
        if beta == 0:
            return None
        if any(isinstance(net, nn.ParameterList) for net in nets):
            raise TechniqueRefused(
                "orthogonal compares whole rows of D's weights, and a technique that is on adds columns to them; set "
                "d=0, or use l2"
            )
        # A weight that is computed from others (spectral or weight norm) is no parameter: asking for it would
        # move the script's power iteration.
        layers = dict.fromkeys(
            layer
            for net in nets
            for layer in net.modules()
            if isinstance(layer, LAYERS) and layer._parameters.get("weight") is not None and layer.weight.requires_grad
        )
        if not layers:
            raise TechniqueRefused(
                f"orthogonal found no linear or convolutional layer in {role.upper()} whose weight is a parameter "
                f"of its own; set {role}=0, or use l2"
            )
        matrices = [as_matrix(layer.weight, transposed=isinstance(layer, TRANSPOSED)) for layer in layers]
        return beta * torch.stack([overlap(matrix) for matrix in matrices]).sum()
