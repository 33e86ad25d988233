"""What helps and what no tool can do to a script: advice, recommended with reasons and never applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LEAST = 0.3
"""Evidence, times the weight of the finding, from which advice is given."""
MOST = 2
"""Pieces of advice given at a time: more is a lecture."""


@dataclass(frozen=True)
class Advice:
    """A remedy that changes the data, the nets or the task, and not how they are trained.

    Attributes:
        name: as in `gandiag techniques NAME`.
        summary: what to do, in a sentence.
        why: why it helps.
        treats: finding code -> how strong the evidence is that it helps, 0..1.
        source: author, year, arXiv id, section.
        how: how to begin.
        cautions: what can go wrong, one sentence each.
    """

    name: str
    summary: str
    why: str
    treats: Mapping[str, float]
    source: str
    how: str
    cautions: tuple[str, ...] = ()


_ALL = (
    Advice(
        name="more_data",
        summary="Train on more data.",
        why="D knows a few thousand samples by heart; what it then asks of G is no longer what the data are.",
        treats={"GD201": 0.5, "GD105": 0.3, "GD101": 0.2},
        source="Karras et al. 2020, arXiv:2006.06676, section 2",
        how="Below some ten thousand images first augment what D sees (ada, diffaugment; apa for other data).",
        cautions=("samples that repeat each other are no more data",),
    ),
    Advice(
        name="larger_generator",
        summary="Give G more width, or the batch more samples.",
        why="A G without room for all modes gives some up; a batch with fewer samples than modes never shows all.",
        treats={"GD101": 0.35, "GD103": 0.3},
        source="Brock et al. 2019, arXiv:1809.11096, section 3.1",
        how="Double G's width first, then the batch; leave D as it is until G has caught up.",
        cautions=("a larger D alone makes a D that is too strong stronger",),
    ),
    Advice(
        name="conditioning",
        summary="Give both nets the labels, if there are any, or clusters of the data in their place.",
        why="With a class asked for, G cannot leave it out, and the rest of the problem is many small ones.",
        treats={"GD101": 0.6, "GD104": 0.5, "GD105": 0.4, "GD103": 0.3},
        source="Mirza and Osindero 2014, arXiv:1411.1784; Miyato and Koyama 2018, arXiv:1802.05637",
        how="Concatenate an embedding of the label to z, and project it on D's features.",
        cautions=("on small data sets conditional GANs collapse earlier than plain ones (Shahbazi et al. 2022)",),
    ),
    Advice(
        name="progressive_growing",
        summary="Begin at a low resolution and add layers as training goes on.",
        why="Coarse structure is learned where it is easy, and D is never asked to judge noise of full resolution.",
        treats={"GD201": 0.3, "GD301": 0.3},
        source="Karras et al. 2018, arXiv:1710.10196, section 2",
        how="For images of 128 x 128 and more; skip connections (Karras et al. 2020, arXiv:1912.04958) are simpler.",
    ),
    Advice(
        name="self_attention",
        summary="Add a layer of self-attention to both nets, in the middle of their resolutions.",
        why="Convolutions alone do not see that parts far from each other must fit together.",
        treats={"GD103": 0.2},
        source="Zhang et al. 2019, arXiv:1805.08318, section 3",
        how="At 32 x 32 or 64 x 64, with spectral normalisation in both nets.",
        cautions=("it makes samples better, not more various: it is no cure for missing modes",),
    ),
    Advice(
        name="several_generators",
        summary="Train several generators, and a classifier that tells their samples apart.",
        why="Each can settle on modes of its own, and leaves the rest to the others.",
        treats={"GD101": 0.45, "GD105": 0.3},
        source="Hoang et al. 2018, arXiv:1708.02556, Eq. 2 (MGAN); Ghosh et al. 2018, arXiv:1704.02906 (MAD-GAN)",
        how="Share all layers of the generators but the first, and start with as many as there are modes, or eight.",
        cautions=("the parameters and the time of a step grow with the number of generators",),
    ),
)

ADVICE: Mapping[str, Advice] = {advice.name: advice for advice in _ALL}
"""By name."""


def advise(weights: Mapping[str, float]) -> list[Advice]:
    """What to do about findings that no technique can do.

    Args:
        weights: finding code -> how heavy it is, 0..1.

    Returns:
        At most two, best first; empty where nothing is well supported.
    """

    def gain(advice: Advice) -> float:
        return max((advice.treats.get(code, 0.0) * weight for code, weight in weights.items()), default=0.0)

    return [advice for advice in sorted(_ALL, key=gain, reverse=True) if gain(advice) >= LEAST][:MOST]
