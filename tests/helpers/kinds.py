"""Nets of several kinds, for tests of all techniques: each technique is trained on the first kind that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helpers.gan_loops import ConvD, ConvG, D, G, Hand, Script, pictures, ring, script, watched
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused
from gandiag.watch import Run

#: What makes a technique act within a few steps where its defaults would wait, and whether it changes weights at all.
SOON = {
    "adaptive_n_critic": "adaptive_n_critic:low=0.99,high=1",
    "grad_clip": "grad_clip:max_norm=0.01",
    "grad_clip_value": "grad_clip_value:value=0.0001",
    "top_k": "top_k:gamma=0.5,every=1",
    "lookahead": "lookahead:k=2",
    "lr_decay": "lr_decay:over=4",
    "replay": "replay:size=8",
    "reweighting": "reweighting:after=1,window=2",
    "apa": "apa:over=64",
}


class NormG(G):
    """G with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.layers.insert(1, nn.BatchNorm1d(self.layers[0].out_features))


class NormD(D):
    """D with batch normalisation and activations that are modules."""

    def __init__(self, *, sigmoid: bool = False) -> None:
        super().__init__(sigmoid=sigmoid)
        self.norm = nn.BatchNorm1d(self.middle.out_features)
        self.dead = nn.ReLU()

    def features(self, x: Tensor) -> Tensor:
        return self.dead(self.norm(self.middle(self.dead(self.first(x)))))


class ConvNormD(ConvD):
    """A convolutional D with batch normalisation."""

    def __init__(self, *, sigmoid: bool = True) -> None:
        super().__init__(sigmoid=sigmoid)
        self.norm = nn.BatchNorm2d(self.first.out_channels)

    def features(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.norm(self.first(x)), 0.2)


@dataclass(frozen=True)
class Kind:
    """Nets that go together, and the number of features before D's last layer."""

    g: Callable[[], nn.Module]
    d: type[nn.Module]
    data: Callable[[int], list[Tensor]]
    features: int


KINDS = (
    Kind(G, D, lambda steps: ring(steps=steps), 12),
    Kind(ConvG, ConvD, lambda steps: pictures(steps), 96),
    Kind(NormG, NormD, lambda steps: ring(steps=steps), 12),
    Kind(ConvG, ConvNormD, lambda steps: pictures(steps), 96),
)


def trained(
    name: str,
    loop: Callable[[Script, Hand], None],
    d_of: Callable[[Kind], Callable[[], nn.Module]],
    folder: Path,
    *,
    steps: int = 6,
    d_nets: Callable[[Script], list[nn.Module]] | None = None,
) -> tuple[Script, Run, Kind]:
    """A script of the first kind that the technique takes, trained by a loop under it.

    Args:
        name: the technique, with its parameters from `SOON`.
        loop: the script.
        d_of: makes the discriminator of a kind.
        folder: for the run directory.
        steps: batches.
        d_nets: the discriminators, where `d_of` makes several in one.
    """
    refused = []
    for i, kind in enumerate(KINDS):
        s = script(g=kind.g, d=d_of(kind), data=lambda kind=kind: kind.data(steps))
        try:
            nets = d_nets(s) if d_nets is not None else None
            return s, watched(loop, s, [SOON.get(name, name)], folder / str(i), d_nets=nets), kind
        except TechniqueRefused as error:
            refused.append(str(error))
    raise AssertionError(f"no kind of nets is taken by {name}: {refused}")
