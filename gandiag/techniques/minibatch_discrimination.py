"""Minibatch discrimination: D sees how close each sample is to the others of its batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused
from gandiag.techniques.base import Beside, Card, Ends, Technique, own_weight, positive, technique


def closeness(features: Float[Tensor, "n f"], kernel: Float[Tensor, "f kernels dims"]) -> Float[Tensor, "n kernels"]:
    """How close each sample is to all others of the batch, for each kernel: sum_j exp(-|M_i - M_j|_1).

    Without the sample itself, whose term is always 1.
    Source: Salimans et al. 2016, arXiv:1606.03498, section 3.2.
    """
    m = torch.einsum("nf,fkd->dkn", features, kernel)
    distance = features.new_zeros(())
    # One dimension at a time: all at once takes 1.7 times as long and `dims` times the memory. torch.cdist is no
    # faster here, and its gradient cannot be differentiated again, which any gradient penalty needs.
    for one in m:
        distance = distance + (one.unsqueeze(1) - one.unsqueeze(2)).abs()
    return torch.exp(-distance).sum(dim=2).T - 1


@technique(
    Card(
        name="minibatch_discrimination",
        summary="Gives D the closeness of each sample to the rest of its batch, so that it sees a lack of variety.",
        treats={"GD104": 0.5, "GD101": 0.35, "GD103": 0.35, "GD105": 0.3},
        source="Salimans et al. 2016, arXiv:1606.03498, section 3.2",
        seams=("networks",),
        cost=8.3,
        cautions=(
            "clipping that the script does itself, of weights (WGAN) or gradients, does not reach the added weights",
            "time and memory grow with the square of the batch: a step of two small networks takes several times as "
            "long at 128 samples; beside large networks it is hardly seen",
            "its kernels are trained by an optimizer of gandiag's own, like D's; the script's checkpoints lack them",
        ),
        restart=True,
        snippet="""\
m = torch.einsum("nf,fkd->nkd", h, self.kernel)   # h: the input of D's last layer; kernel (f, {kernels}, {dims})
near = torch.exp(-(m[None] - m[:, None]).abs().sum(3)).sum(0) - 1
out = self.last(torch.cat([h, near], dim=1))""",
    )
)
@dataclass
class MinibatchDiscrimination(Technique):
    """Minibatch discrimination as an additive head.

    last(cat(h, near)) = last(h) + near @ w: concatenation before a linear layer is the layer plus a second
    one on what was concatenated, so the script's layer stays as it is.

    Attributes:
        kernels: how many; the paper takes 100, 50 is torch users' habit.
        dims: the dimension of each.
    """

    kernels: int = 50
    dims: int = 5
    _kernels: dict[nn.Module, nn.Parameter] = field(default_factory=dict, init=False, repr=False)
    _heads: dict[nn.Module, nn.Module] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse sizes that mean nothing."""
        positive("minibatch_discrimination", kernels=self.kernels, dims=self.dims)

    def widen(self, ends: Ends, *, generator: torch.Generator) -> None:
        """Draw the kernels; the new head starts at zero, so that D begins as the script made it."""
        weight = own_weight("minibatch_discrimination", ends.head)
        size = (weight[0].numel(), self.kernels, self.dims)
        draw = torch.randn(size, generator=generator, device=weight.device, dtype=weight.dtype)
        self._kernels[ends.head] = nn.Parameter(draw / size[0] ** 0.5)
        head = self._heads[ends.head] = nn.Linear(self.kernels, len(weight), bias=False, device="meta")
        head.weight = nn.Parameter(weight.new_zeros(len(weight), self.kernels).detach())

    def added(self) -> dict[nn.Module, list[nn.Parameter]]:
        """The kernels and the new head."""
        return {layer: [kernel, *self._heads[layer].parameters()] for layer, kernel in self._kernels.items()}

    def beside(self) -> Beside:
        """The new head."""
        return {layer: [head] for layer, head in self._heads.items()}

    def head(self, layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """The layer's output plus that of the new head."""
        output, features, kernel = forward(x), x.flatten(1), self._kernels[layer]
        if features.shape[1] != len(kernel):
            raise TechniqueRefused(
                f"minibatch_discrimination needs each sample as one vector before D's last layer, and that is a "
                f"{type(layer).__name__} which slides over a map of {features.shape[1]} numbers, {len(kernel)} at a "
                "time (a PatchGAN has such); turn on minibatch_stddev or pacgan"
            )
        added: Tensor = self._heads[layer](closeness(features, kernel))
        return output + added.reshape(output.shape)
