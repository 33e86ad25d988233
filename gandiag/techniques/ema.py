"""EMA: an exponential moving average of G's weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gandiag.errors import UsageError
from gandiag.techniques.base import Card, Technique, technique


@technique(
    Card(
        name="ema",
        summary="Keeps an exponential moving average of G's weights; training itself is unchanged.",
        treats={"GD203": 0.35, "GD105": 0.2},
        source="Yazici et al. 2019, arXiv:1806.04498",
        seams=("after_step",),
        cost=1.15,
        cautions=(
            "smooths the output, not the training: samples drawn with the averaged weights improve, G itself does not",
            "the averaged weights are written to the run directory; load them into a copy of G to sample",
        ),
        snippet="""\
for average, weight in zip(G_ema.parameters(), G.parameters()):   # after each optimizer_g.step()
    average.data.lerp_(weight.data, 1 - {decay})
for average, buffer in zip(G_ema.buffers(), G.buffers()):
    average.copy_(buffer)""",
    )
)
@dataclass
class EMA(Technique):
    """An average of G's weights, with buffers copied.

    Attributes:
        decay: in (0, 1); the average reaches back over about 1 / (1 - decay) steps.
    """

    decay: float = 0.999
    _averages: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        """Refuse decays that are none."""
        if not 0 < self.decay < 1:
            raise UsageError(f"technique 'ema': decay must lie between 0 and 1, got {self.decay}")

    def start(self, g_nets: list[nn.Module]) -> None:
        """The averages begin at the initial weights, as a deep copy made before the loop would."""
        self._averages = {name: value.detach().clone() for name, value, _ in _state(g_nets)}

    def after_g_step(self, g_nets: list[nn.Module]) -> None:
        """Move the averages towards G's weights after G's step; buffers are copied."""
        with torch.no_grad():
            for name, value, trained in _state(g_nets):
                if trained:
                    self._averages[name].lerp_(value.detach(), 1 - self.decay)
                else:
                    self._averages[name].copy_(value)

    def averages(self) -> dict[str, Tensor]:
        """The averaged weights under G's own state_dict keys."""
        return dict(self._averages)


def _state(nets: list[nn.Module]) -> Iterator[tuple[str, Tensor, bool]]:
    """Name, value and whether it is a parameter, of everything in the nets' state_dicts."""
    for i, net in enumerate(nets):
        prefix = f"{i}." if len(nets) > 1 else ""
        parameters = {name for name, _ in net.named_parameters(remove_duplicate=False)}
        for name, value in net.state_dict().items():
            yield prefix + name, value, name in parameters
