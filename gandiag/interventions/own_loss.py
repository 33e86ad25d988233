"""The script's own losses, read off the gradients that they send to D's outputs.

Nobody tells gandiag what loss a script uses, and a technique that shows D other samples (replay, reweighting) needs to
know what the script would have made of them. A loss that judges each sample by itself, whatever its reduction and its
weight, sends to a logit l a gradient that depends on l alone, and each family has its own curve:

    bce             a sigmoid(l) + b        any target, saturating or not
    least_squares   a l + b, or (a p + b) p (1 - p) where D ends in a sigmoid p
    wasserstein     b
    hinge           b on one side of the margin, 0 on the other

The curve is fitted by least squares to what the first steps send, and it fits up to rounding or the loss is of another
family and is refused. Hinge and Wasserstein are alike as long as no logit has crossed the margin; `margins` tells them
apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from gandiag.errors import TechniqueRefused

#: Steps that the curve is fitted to, and between two looks whether it still fits.
FITTED_TO, LOOK_AGAIN = 3, 64
#: Part of the gradient that a curve may miss, in units of the precision of its numbers.
ROUNDING = 200.0
#: Curves in the order in which they are believed: each holds the ones before it as a special case.
_FAMILIES = ("hinge", "wasserstein", "bce", "least_squares", "least_squares_of_probability")


@dataclass
class Side:
    """One side's loss: of real samples, of fake ones, or of those that G is judged by.

    Attributes:
        margin: the logit at which a hinge loss ends, and on which side of it there is a gradient.
        left: the families that have fitted so far, simplest first.
        steps: how many times it has been shown a gradient.
        scale, shift: a and b of the curve of `left[0]`, 0-dim float64.
    """

    margin: tuple[float, str]
    left: tuple[str, ...]
    steps: int = 0
    scale: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    shift: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    _seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    _fitted: str = ""

    def show(self, logits: Tensor, slopes: Tensor) -> None:
        """Take note of the gradient at each logit; after the first steps only now and then.

        Args:
            logits: of any shape, no graph.
            slopes: d loss / d logits, of the same shape.
        """
        self.steps += 1
        if self.steps > FITTED_TO and self.steps % LOOK_AGAIN:
            return
        # Batches differ in size, and the script's means do not.
        at, sent = logits.flatten().double(), slopes.flatten().double() * logits.numel()
        if self.steps <= FITTED_TO:
            self._seen.append((at, sent))
            at, sent = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        fitted = {name: self._fit(name, at, sent) for name in self.left}
        eps = torch.finfo(logits.dtype).eps
        self.left = tuple(name for name in self.left if self._fits(fitted[name], sent, eps))
        if self.left and (self.steps <= FITTED_TO or self.left[0] != self._fitted):
            self._fitted = self.left[0]
            self.scale, self.shift, _ = fitted[self._fitted]
        if self.steps >= FITTED_TO:
            self._seen = []

    @property
    def family(self) -> str:
        """The simplest that fits; "unknown" without any."""
        return self.left[0] if self.left else "unknown"

    def of(self, logits: Tensor) -> Tensor:
        """The loss of each sample, of the shape of `logits`: their mean is the script's loss."""
        a, b = self.scale.to(logits), self.shift.to(logits)
        if self.family == "hinge":
            margin, side = self.margin
            return -b * functional.relu(margin - logits) if side == "below" else b * functional.relu(logits - margin)
        if self.family == "wasserstein":
            return b * logits
        if self.family == "bce":
            return a * functional.softplus(logits) + b * logits
        x = logits if self.family == "least_squares" else torch.sigmoid(logits)
        return a / 2 * x.square() + b * x

    def _fits(self, fit: tuple[Tensor, Tensor, float], slopes: Tensor, eps: float) -> bool:
        """Whether what the curve misses is rounding: of the gradient, and of what it is the small difference of.

        sigmoid(l) - 1 is wrong by eps however small it is, and where D is sure of itself nothing else is left of it.
        """
        known = self.steps > FITTED_TO
        a, b = (self.scale, self.shift) if known else fit[:2]
        size = float(slopes.norm())
        return bool(fit[2] * size <= ROUNDING * eps * size + 4 * eps * float(a.abs() + b.abs()) * slopes.numel() ** 0.5)

    def _fit(self, family: str, logits: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor, float]:
        """a, b, and what part of the gradient the curve misses."""
        a = torch.zeros((), dtype=torch.float64, device=logits.device)
        if family in ("hinge", "wasserstein"):
            inside = self._inside(logits) if family == "hinge" else torch.ones_like(logits)
            b = (slopes * inside).sum() / inside.sum().clamp_min(1)
            found = b * inside
        else:
            p = torch.sigmoid(logits)
            x = logits if family == "least_squares" else p
            weight = p * (1 - p) if family == "least_squares_of_probability" else torch.ones_like(logits)
            # By hand, not by a solver of LAPACK's, whose last digits depend on where in memory the numbers lie.
            line = x * weight
            apart, power = line, weight.square().sum()
            for _ in range(2):  # once leaves rounding, which is all there is where the logits are nearly equal
                apart = apart - (apart * weight).sum() / power * weight
            if float(apart.norm()) > 8 * torch.finfo(line.dtype).eps * float(line.norm()):
                a = (apart * slopes).sum() / apart.square().sum()
            b = (weight * (slopes - a * line)).sum() / weight.square().sum()
            found = a * line + b * weight
        return a, b, float((slopes - found).norm() / slopes.norm().clamp_min(1e-300))

    def _inside(self, logits: Tensor) -> Tensor:
        margin, side = self.margin
        return (logits < margin if side == "below" else logits > margin).double()


_ON = {"real": "on the real samples", "fake": "on the fake samples", "g": "when G learns"}


class ScriptLoss:
    """See `gandiag.techniques.base.OwnLoss`. One for each D.

    Args:
        margin: whether D's loss ends at a margin.
    """

    def __init__(self, *, margin: bool = False) -> None:
        without = _FAMILIES[1:]
        families = _FAMILIES if margin else without
        self._sides = {
            "real": Side((1.0, "below"), left=families),
            "fake": Side((-1.0, "above"), left=families),
            "g": Side((0.0, ""), left=without),
        }

    @property
    def known_of_g(self) -> bool:
        """Whether G's loss has been seen."""
        return self._sides["g"].steps > 0

    @property
    def family(self) -> str:
        """The simplest that both sides fit."""
        both = [name for name in self._sides["real"].left if name in self._sides["fake"].left]
        return both[0] if both else "unknown"

    def real(self, logits: Tensor) -> Tensor:
        """D's loss of each real sample."""
        return self._sides["real"].of(logits)

    def fake(self, logits: Tensor) -> Tensor:
        """D's loss of each fake sample."""
        return self._sides["fake"].of(logits)

    def g(self, logits: Tensor) -> Tensor:
        """G's loss of each fake sample."""
        return self._sides["g"].of(logits)

    def show_g(self, logits: Tensor | None, slopes: Tensor | None, *, name: str) -> None:
        """Look at what reaches D's output on its way into G, in the first steps.

        Where a script does not detach its fakes, D's own loss goes that way too, to gradients that the script clears.
        It is told apart by its curve, which is known by then.
        """
        side = self._sides["g"]
        if logits is None or slopes is None or side.steps >= FITTED_TO or not self._sides["fake"].steps:
            return
        with torch.enable_grad():
            x = logits.detach().requires_grad_()
            (of_d,) = torch.autograd.grad(self.fake(x).mean(), x)
        if not torch.allclose(slopes, of_d, rtol=ROUNDING * torch.finfo(x.dtype).eps, atol=0.0):
            self.show("g", logits, slopes, name=name)

    def show(self, side: str, logits: Tensor | None, slopes: Tensor | None, *, name: str) -> None:
        """Look at one side, "real", "fake" or "g", of a step.

        Raises:
            TechniqueRefused: the gradient is of no known family; `name` is who wanted to know.
        """
        if logits is None or slopes is None:
            return
        known = self._sides[side]
        known.show(logits, slopes)
        if not known.left:
            raise TechniqueRefused(
                f"{name} must know what the script's loss would be of other samples, and the gradient that reached D's "
                f"output {_ON[side]} is not that of cross-entropy, least squares, hinge or Wasserstein loss "
                "of each sample by itself; turn on a technique that brings its own loss (rpgan_r1_r2, hinge), or write "
                "it into the script"
            )


def at_logits(output: Tensor, cotangent: Tensor, *, probability: bool) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient at them, from D's output and the gradient there."""
    if not probability:
        return output, cotangent
    # A sure D says 1.0 in single precision, whose logit is infinite, and nothing can be fitted to that.
    return torch.logit(output, eps=torch.finfo(output.dtype).eps), cotangent * output * (1 - output)
