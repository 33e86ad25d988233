"""Historical averaging: each player is held near the mean of its own past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gandiag.techniques._weights import check_strengths
from gandiag.techniques.base import Card, Technique, technique


def distance(weights: Sequence[Float[Tensor, ...]], means: Sequence[Float[Tensor, ...]]) -> Float[Tensor, ""]:
    """Squared L2 distance of all weights together from their means, 0-dim.

    Source: Salimans et al. 2016, arXiv:1606.03498, section 3.3.
    """
    return torch.stack([(w - mean).square().sum() for w, mean in zip(weights, means, strict=True)]).sum()


@technique(
    Card(
        name="historical_averaging",
        summary="Adds the squared distance of each player's weights from the mean of their past values to its loss.",
        treats={"GD203": 0.3, "GD105": 0.2},
        source="Salimans et al. 2016, arXiv:1606.03498, section 3.3",
        seams=("gradients",),
        cost=1.55,
        cautions=(
            "shown on games of a few numbers; in networks it is rarely used",
            "the mean moves ever more slowly, so that it holds a long training back: lower the strengths then",
            "the mean is not in the script's checkpoints: a resumed run starts it anew",
        ),
        snippet="""\
for net, strength, means in ((D, {d}, means_d), (G, {g}, means_g)):   # means: clones of the parameters, made at first
    for w, mean in zip(net.parameters(), means):
        mean.lerp_(w.detach(), 1 / step)                            # step counts from 1
    loss[net] = loss[net] + strength * sum((w - m).square().sum() for w, m in zip(net.parameters(), means))""",
    )
)
@dataclass
class HistoricalAveraging(Technique):
    """Historical averaging of all trained parameters, with a running mean.

    Attributes:
        d: strength on D, 0 for none.
        g: strength on G, likewise. The paper's term has no factor, which is 1.
    """

    d: float = 1.0
    g: float = 1.0
    _means: dict[nn.Parameter, tuple[int, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse strengths that mean nothing."""
        check_strengths("historical_averaging", d=self.d, g=self.g)

    def weights_loss(self, *, role: str, nets: list[nn.Module]) -> Tensor | None:
        """Strength * |w - mean of w so far|^2; the value before this step is the last one in the mean."""
        strength = self.d if role == "d" else self.g
        if strength == 0:
            return None
        weights = list(dict.fromkeys(p for net in nets for p in net.parameters() if p.requires_grad))
        return strength * distance(weights, [self._mean(p) for p in weights])

    def _mean(self, p: nn.Parameter) -> Tensor:
        count, mean = self._means.get(p) or (0, torch.zeros_like(p))
        self._means[p] = (count + 1, mean)
        return mean.lerp_(p.detach(), 1 / (count + 1))
