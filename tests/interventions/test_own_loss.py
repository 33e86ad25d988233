"""The script's own loss is read off the gradients that reach D's output."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gandiag.errors import TechniqueRefused
from gandiag.interventions.margins import Margins
from gandiag.interventions.own_loss import FITTED_TO, LOOK_AGAIN, ScriptLoss, at_logits

Loss = Callable[[Tensor], Tensor]
#: name: the family, the loss of each real and of each fake sample at the logits.
LOSSES: dict[str, tuple[str, Loss, Loss]] = {
    "cross-entropy": ("bce", lambda x: functional.softplus(-x), functional.softplus),
    "smoothed, weighted": (
        "bce",
        lambda x: 0.5 * functional.binary_cross_entropy_with_logits(x, torch.full_like(x, 0.9), reduction="none"),
        lambda x: 0.5 * functional.softplus(x),
    ),
    "least squares": ("least_squares", lambda x: (x - 1) ** 2, lambda x: x**2),
    "least squares of probabilities": (
        "least_squares_of_probability",
        lambda x: (x.sigmoid() - 1) ** 2,
        lambda x: x.sigmoid() ** 2,
    ),
    "hinge": ("hinge", lambda x: functional.relu(1 - x), lambda x: functional.relu(1 + x)),
    "wasserstein": ("wasserstein", lambda x: -3 * x, lambda x: 3 * x),
}


def shown(real: Loss, fake: Loss, *, steps: int = FITTED_TO, spread: float = 2.0, rows: int = 32) -> ScriptLoss:
    """A loss that has been read over some steps."""
    generator = torch.Generator().manual_seed(0)
    own = ScriptLoss(margin=real is LOSSES["hinge"][1])
    for step in range(steps):
        for side, loss in (("real", real), ("fake", fake)):
            logits = spread * torch.randn(rows - step % 3, 1, generator=generator)
            own.show(side, logits, slopes(loss, logits), name="replay")
    return own


def slopes(loss: Loss, logits: Tensor) -> Tensor:
    """What the mean of the loss sends to the logits."""
    x = logits.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x).mean(), x)
    return gradient


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_read_off_its_gradient(name: str) -> None:
    """On logits that it has never seen the loss that was read has the gradient of the true one, to 1e-9."""
    family, real, fake = LOSSES[name]
    own, logits = shown(real, fake), torch.linspace(-6, 6, 25)
    assert own.family == family
    for read, true in ((own.real, real), (own.fake, fake)):
        torch.testing.assert_close(slopes(read, logits), slopes(true, logits), rtol=1e-9, atol=1e-12)


SURE: dict[str, tuple[str, Loss, Loss]] = {
    "logits": LOSSES["cross-entropy"],
    "logits, weighted": LOSSES["smoothed, weighted"],
    "probabilities": (
        "bce",
        lambda p: functional.binary_cross_entropy(p, torch.ones_like(p), reduction="none"),
        lambda p: functional.binary_cross_entropy(p, torch.zeros_like(p), reduction="none"),
    ),
    "squares of probabilities": ("least_squares_of_probability", lambda p: (p - 1) ** 2, lambda p: p**2),
}


@pytest.mark.parametrize("name", SURE)
def test_a_sure_d_has_no_other_loss(name: str) -> None:
    """In single precision the gradient of a D that is sure of itself is rounding; that does not end the training."""
    family, *losses = SURE[name]
    own, generator = ScriptLoss(), torch.Generator().manual_seed(0)
    for step in range(4 * LOOK_AGAIN):
        for side, loss, sign in zip(("real", "fake"), losses, (1, -1), strict=True):
            logits = sign * ((0 if step < FITTED_TO else 15) + 2 * torch.randn(64, 1, generator=generator))
            output = logits.float().sigmoid() if "probabilities" in name else logits.float()
            slope = slopes(loss, output)
            own.show(side, *at_logits(output, slope, probability="probabilities" in name), name="replay")
    assert own.family == family


def test_small_spreads_tell_families_apart() -> None:
    """A fresh D whose logits differ by a hundredth: cross-entropy is not taken for least squares."""
    for name in ("cross-entropy", "least squares", "least squares of probabilities"):
        family, real, fake = LOSSES[name]
        assert shown(real, fake, spread=0.3).family == family


def test_a_margin_tells_hinge_from_wasserstein() -> None:
    """Inside the margin the two are alike: what decides is whether the graph of the loss cuts values off."""
    for name, family in (("hinge", "hinge"), ("wasserstein", "wasserstein")):
        _, real, fake = LOSSES[name]
        own = shown(real, fake, spread=0.1)
        assert own.family == family
        large = torch.tensor([-5.0, 0.0, 5.0])
        torch.testing.assert_close(slopes(own.real, large), slopes(real, large))


@pytest.mark.parametrize("name", LOSSES)
def test_the_margin_is_seen_in_the_graph(name: str) -> None:
    """D's own activations are none of the loss's: the walk ends at D's output."""
    _, real, fake = LOSSES[name]
    d = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    outputs = [d(torch.randn(8, 2)) for _ in range(2)]
    margins = Margins()
    for output in outputs:
        margins.output_made(output)
    margins.backward_begins((real(outputs[0]).mean() + 0.5 * fake(outputs[1]).mean(),))
    assert margins.found == (name == "hinge")


def test_another_loss_is_refused() -> None:
    """A gradient that depends on the other samples, or on a curve of another kind, is of no known family."""

    def paired(x: Tensor) -> Tensor:
        return functional.softplus(-(x - x.flip(0)))

    with pytest.raises(TechniqueRefused, match=r"replay must know.*real samples"):
        shown(paired, functional.softplus)
    with pytest.raises(TechniqueRefused, match="fake samples"):
        shown(LOSSES["hinge"][1], torch.exp)


def test_probabilities_are_read_as_logits() -> None:
    """The gradient at a sigmoid's output, taken to its input, is that of the loss of logits."""
    logits = torch.tensor([-1.0, 0.5, 2.0])
    p = logits.sigmoid().requires_grad_()
    (cotangent,) = torch.autograd.grad(functional.binary_cross_entropy(p, torch.ones_like(p)), p)
    found, at = at_logits(p.detach(), cotangent, probability=True)
    torch.testing.assert_close(found, logits)
    torch.testing.assert_close(at, slopes(lambda x: functional.softplus(-x), logits))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1e-1, 1e-3, 1e-5, 1e-8, 0.0])
def test_logits_that_are_nearly_equal_are_no_other_loss(dtype: torch.dtype, spread: float) -> None:
    """A D that says the same of all samples, as of those of a collapsed G: cross-entropy is never ruled out."""
    for seed in range(10):
        generator, own = torch.Generator().manual_seed(seed), ScriptLoss()
        for step in range(LOOK_AGAIN + 1):
            some = 1.0 if seed % 2 and step < FITTED_TO else spread
            logits = (0.3 + some * torch.randn(64, 1, generator=generator, dtype=torch.float64)).to(dtype)
            for side, sign in (("real", -1), ("fake", 1)):
                own.show(
                    side, logits, slopes(lambda x, sign=sign: functional.softplus(sign * x), logits), name="replay"
                )
        if seed % 2:
            assert own.family == "bce"
