"""What a person, and the recommender, must know of a technique."""

from __future__ import annotations

from dataclasses import dataclass

#: Layers that mix the samples of a batch, so that D's slope at one sample is not defined.
BATCH_COUPLED = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")


@dataclass(frozen=True)
class Card:
    """A technique in a person's words and in the recommender's numbers.

    Attributes:
        name: as in `--enable name`.
        summary: one sentence.
        treats: finding code -> how strong the evidence is that it helps, 0..1.
        source: author, year, arXiv id, equation.
        seams: where it acts, of "networks", "d_input", "gradients", "optimizer", "after_step".
        cost: time of a training step over that of the same loop watched without techniques, measured on the ring and
            the digits demo (docs/benchmarks.md); other networks differ.
        cautions: what can go wrong, one sentence each.
        conflicts: techniques that must not be on at the same time. Of two that take the losses over, or that step the
            same optimizer, one is refused anyway and need not be named.
        layers: layer classes in D with which it must not be used (a gradient penalty with batch norm).
        suits: the loss families that it needs; empty means any.
        data: the kinds of data that it needs, "images"; empty means any.
        wants: layer classes of which D must hold one; empty means none.
        restart: whether training must start anew (it changes what the weights mean).
        snippet: the lines that write it into a script by hand.
    """

    name: str
    summary: str
    treats: dict[str, float]
    source: str
    seams: tuple[str, ...]
    cost: float
    cautions: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    suits: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    restart: bool = False
    snippet: str = ""
