"""What a column's name says, in the many ways in which people write it.

`loss_D`, `D_loss`, `errD`, `Loss/D/loss`, `critic_loss` and `loss/discriminator` are one thing. A name is cut into
words; which words it holds decides. Where two readings are possible, none is taken: a wrong column is worse than none.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["own", "loss", "score", "probability", "sign", "accuracy", "norm", "part", "unclear"]

OWN = re.compile(
    r"loss/[dg]|[dg]/logits/(real|fake)/(mean|std|q05|q50|q95|positive)|d/accuracy|grad/[dg]/.+|numerics/nonfinite"
)
"""gandiag's own columns, as `gandiag export` writes them."""

_D = frozenset({"d", "disc", "discriminator", "dis", "discr", "critic", "netd", "dnet"})
_G = frozenset({"g", "gen", "generator", "netg", "gnet"})
_LOSS = frozenset({"loss", "losses", "err", "error", "l", "obj", "objective", "cost"})
_REAL = frozenset({"real", "true"})
_FAKE = frozenset({"fake", "generated", "synthetic"})
_SCORE = frozenset({"score", "scores", "logit", "logits", "output", "outputs", "out", "pred", "preds", "validity"})
_PROBABILITY = frozenset({"p", "prob", "probability"})
_SIGN = frozenset({"sign", "signs"})
_ACCURACY = frozenset({"acc", "accuracy"})
_GRADIENT = frozenset({"grad", "grads", "gradient", "gradients", "gradnorm"})
_NORM = frozenset({"norm", "norms", "gradnorm", "l2", "total", "2", "0"})  # "grad_2.0_norm_total" is Lightning's
_PENALTY = frozenset({"penalty", "gp", "reg", "regularization", "r1", "r2", "pl", "lecam"})
_ELSEWHERE = frozenset({"val", "valid", "validation", "test", "eval", "lr", "fid", "weight", "time", "sec"})
_NEUTRAL = frozenset({
    "train", "training", "tr", "step", "batch", "iter", "mean", "total", "value", "metrics", "log", "logs", "scalars",
    "scalar", "model", "net", "network", "item",
})  # fmt: skip
_GLUED = {f"{a}{b}": (x, y) for x in ("d", "g") for y in ("loss", "err") for a, b in ((x, y), (y, x))}


@dataclass(frozen=True)
class Meaning:
    """What a column holds.

    Attributes:
        kind: how its numbers are to be read. `part`: a number of the training that no analyzer knows, of which only
            NaN and infinity count; `unclear`: the same, as the name has two readings; `own`: gandiag's own column.
        column: gandiag's name for it, or None.
        spare: words that the reading does not need; of two columns with one meaning the plainer name is taken.
    """

    kind: Kind
    column: str | None = None
    spare: int = 0


def compact(name: str) -> str:
    """Only the letters and digits, lower case.

    >>> compact("Progress/kimg")
    'progresskimg'
    """
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def words(name: str) -> list[str]:
    """The words of a name, lower case, cut at signs and at changes of case.

    >>> words("Loss/D/loss"), words("errD"), words("d_gradNorm"), words("gloss")
    (['loss', 'd', 'loss'], ['err', 'd'], ['d', 'grad', 'norm'], ['g', 'loss'])
    """
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name))
    pieces = re.sub(r"[^a-z0-9]+", " ", name.lower()).split()
    return [word for piece in pieces for word in _GLUED.get(piece, (piece,))]


@functools.lru_cache(maxsize=4096)
def meaning(name: str) -> Meaning | None:
    """What a column of this name holds, or None where it is nothing of the training's health.

    >>> meaning("critic_loss").column, meaning("Loss/scores/real").column, meaning("D(G(z))").kind
    ('loss/d', 'd/logits/real/mean', 'probability')
    """
    if OWN.fullmatch(name):
        return Meaning("own", name)
    found = set(words(name))
    if found & _ELSEWHERE:
        return None
    seen_in_prints = re.fullmatch(r"(?:train(?:ing)?)?d(x|gz[12]?)", compact(name))
    if seen_in_prints:  # D(x), D(G(z)), and its value before and after D's step, as the DCGAN example prints them
        logits = {"x": "d/logits/real", "gz2": "g/logits/fake"}.get(seen_in_prints[1], "d/logits/fake")
        return Meaning("probability", f"{logits}/mean")
    d, g, real, fake = (bool(found & those) for those in (_D, _G, _REAL, _FAKE))
    role = None if d == g else "d" if d else "g"
    side = None if real == fake else "real" if real else "fake"

    def known(kind: Kind, column: str, needed: frozenset[str]) -> Meaning:
        return Meaning(kind, column, len(found - needed - _NEUTRAL))

    if found & _PENALTY:
        return Meaning("part")
    if found & _GRADIENT:
        reading = known("norm", f"grad/{role}/total", _GRADIENT | _NORM | _D | _G)
        return reading if role and found & _NORM and not reading.spare else Meaning("part")
    if found & _SIGN and side and role != "g":
        return known("sign", f"d/logits/{side}/positive", _SIGN | _REAL | _FAKE | _D | {"loss"})
    if found & _ACCURACY:
        if role == "g" or not (d or side) or found - _ACCURACY - _REAL - _FAKE - _D - _NEUTRAL:
            return None  # of a classifier: accuracy, aux_acc, top1_acc, ...
        return known("accuracy", f"d/logits/{side}/positive" if side else "d/accuracy", _ACCURACY | _REAL | _FAKE | _D)
    outputs: tuple[tuple[Kind, frozenset[str]], ...] = (("probability", _PROBABILITY), ("score", _SCORE))
    for kind, marks in outputs:
        if found & marks and side and not (role == "g" and side == "real"):
            column = f"{'g' if role == 'g' else 'd'}/logits/{side}/mean"
            reading = known(kind, column, marks | _REAL | _FAKE | _D | _G | {"loss"})  # StyleGAN's is Loss/scores/real
            return reading if not reading.spare else Meaning("part")
    if found & _LOSS:
        return known("loss", f"loss/{role}", _LOSS | _D | _G) if role and not (real or fake) else Meaning("part")
    if (d or g) and not found - _D - _G - _REAL - _FAKE - _NEUTRAL:
        return Meaning("unclear")  # "D_real", "G": a loss to some, a score to others
    return None
