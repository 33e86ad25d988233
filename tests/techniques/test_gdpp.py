"""GDPP: G matches the spectrum of the similarities within a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import (
    CASES,
    STYLES,
    ConvD,
    ConvG,
    Hand,
    Script,
    assert_same,
    dcgan,
    net_for,
    pictures,
    ring,
    script,
    train,
    watched,
)
from torch import Tensor
from torch.nn import functional

from gandiag.errors import UsageError
from gandiag.remediate.snippet import snippet
from gandiag.techniques import parse
from gandiag.techniques.gdpp import diversity_gap, spectrum, standing


def test_the_spectrum_of_two_samples() -> None:
    """A cosine c between two samples has the eigenvalues 1 - c and 1 + c."""
    values, vectors = spectrum(torch.tensor([[2.0, 0.0], [3.0, 4.0]]))
    torch.testing.assert_close(values, torch.tensor([0.4, 1.6]))
    torch.testing.assert_close(vectors.abs(), torch.full((2, 2), 0.5).sqrt())


def test_a_batch_is_nearest_to_itself() -> None:
    """Then all cosines are one, and the gap is minus the sum of the weights; a collapsed batch is farther."""
    features = torch.randn(6, 8)
    values = spectrum(features)[0]
    weights = (values - values[0]) / (values[-1] - values[0]) * standing(values).square()
    torch.testing.assert_close(diversity_gap(real=features, fake=features), -weights.sum())
    alike = features[:1] + 1e-2 * torch.randn(6, 8)
    assert diversity_gap(real=features, fake=alike) > diversity_gap(real=features, fake=features)


def test_where_eigenvalues_lie_apart_the_gradient_is_that_of_eigh() -> None:
    """Within what broadening by 1e-4 changes at gaps of about one."""
    features = torch.tensor([[1.0, 0.1, 0.0, 0.0], [0.6, 1.0, 0.1, 0.0], [0.0, 0.3, 1.0, -0.9], [0.0, 0.0, 0.2, 1.0]])
    weights = torch.randn(4, 4)

    def read(values: Tensor, vectors: Tensor) -> Tensor:
        return (values * weights[0]).sum() + (vectors.abs() * weights).sum()

    ours, theirs = (features.clone().requires_grad_() for _ in range(2))
    read(*spectrum(ours)).backward()
    phi = functional.normalize(theirs, dim=1)
    values, vectors = torch.linalg.eigh(phi @ phi.T)
    assert values.diff().min() > 0.2
    read(values, vectors).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0.01, atol=0.01)


def test_eigenvectors_count_as_far_as_they_are_determined() -> None:
    """A gap of 0.01 counts half, a gap of zero not at all, a large one wholly; the nearer neighbour decides."""
    found = standing(torch.tensor([0.0, 0.0, 1.0, 1.01, 3.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0]), atol=1e-4, rtol=0)
    assert torch.equal(standing(torch.ones(1)), torch.ones(1))


def test_equal_eigenvalues_have_a_finite_gradient() -> None:
    """Nine samples of two features have seven eigenvalues of zero; a collapsed batch has eight."""
    for features in (torch.randn(9, 2), torch.ones(9, 2)):
        x = features.requires_grad_()
        diversity_gap(real=torch.randn(9, 2), fake=x).backward()
        assert x.grad.isfinite().all()
        assert x.grad.abs().max() < 1e3


class Eigh(torch.autograd.Function):
    """torch.linalg.eigh with the broadened gradient, as a person would write it: the textbook's backward."""

    @staticmethod
    def forward(ctx: object, kernel: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(kernel)
        ctx.save_for_backward(values, vectors)
        return values, vectors

    @staticmethod
    def backward(ctx: object, d_values: Tensor, d_vectors: Tensor) -> Tensor:
        values, v = ctx.saved_tensors
        n = len(values)
        inner = torch.zeros(n, n)
        for i in range(n):
            inner[i, i] = d_values[i]
            for j in range(n):
                gap = values[i] - values[j]
                inner[j, i] += gap / (gap**2 + 1e-4) * (v[:, j] @ d_vectors[:, i])
        return v @ inner @ v.T


class ByHand(Hand):
    """The authors' two terms on D's penultimate features, with the cosine's absolute value."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        if real is None:  # a loop that steps G first: gandiag has seen no real batch yet
            return None
        if (n := min(len(real), len(fake))) == 1:
            return None
        kernels = []
        for x in (real[:n], fake[:n]):
            phi = functional.normalize(s.d.features(x).flatten(1), p=2, dim=1)
            kernels.append(torch.mm(phi, phi.t()))
        l_real, v_real = torch.linalg.eigh(kernels[0].detach())
        l_fake, v_fake = Eigh.apply(kernels[1])
        magnitude = 0.0001 * functional.mse_loss(l_fake, l_real)
        normalized = (l_real - l_real.min()) / (l_real.max() - l_real.min())
        structure = 0.0
        for i in range(n):
            sure = 1.0
            for values in (l_real, l_fake.detach()):
                gap = min(abs(values[i] - values[j]) for j in range(n) if j != i)
                sure = sure * gap**2 / (gap**2 + 1e-4)
            structure = structure - sure * normalized[i] * torch.dot(v_fake[:, i], v_real[:, i]).abs()
        return self.weight * (magnitude + structure)


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Within 1e-6: gradients of eigenvectors are summed in another order."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["gdpp:weight=0.7"], tmp_path)
    train(STYLES[style], theirs, ByHand(0.7))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_equals_the_hand_written_convolutional_loop(tmp_path: Path) -> None:
    """The input of the 4x4 head is flattened to 96 features."""
    ours, theirs = (script(g=ConvG, d=ConvD, data=lambda: pictures(20)) for _ in range(2))
    watched(dcgan, ours, ["gdpp"], tmp_path)
    train(dcgan, theirs, ByHand(1.0))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


def test_a_smaller_last_batch(tmp_path: Path) -> None:
    """Three real samples and sixteen fakes: three of these are compared; one sample has no spectrum to compare."""

    def loop(s: Script, hand: Hand) -> None:
        for real in s.batches:
            s.optimizer_d.zero_grad()
            fake = s.g(torch.randn(16, 2))
            (functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()).backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            loss = functional.softplus(-s.d(fake)).mean()
            if (term := hand.g_term(s, real=real, fake=fake)) is not None:
                loss = loss + term
            loss.backward()
            s.optimizer_g.step()

    def start(*rows: int) -> Script:
        return script(data=lambda: [x[:n] for x, n in zip(ring(steps=len(rows)), rows, strict=True)])

    ours, theirs = start(16, 7, 3, 2), start(16, 7, 3, 2)
    watched(loop, ours, ["gdpp"], tmp_path)
    train(loop, theirs, ByHand(1.0))
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)
    alone, without = start(16, 1), start(16, 1)
    watched(loop, alone, ["gdpp"], tmp_path / "alone")
    train(loop, without, ByHand(1.0))
    assert_same(alone.tensors(), without.tensors(), within=1e-6)


def test_the_snippet_is_the_technique() -> None:
    """Run as it is printed, with D's features given."""
    real, fake = torch.randn(9, 5), torch.randn(9, 5, requires_grad=True)
    given = {"torch": torch, "F": functional, "features": lambda x: x, "x_real": real, "G": lambda z: fake, "z": None}
    found = given | {"loss_g": torch.zeros(())}
    exec(snippet(["gdpp:weight=0.7"]), found)
    (ours,) = torch.autograd.grad(found["loss_g"], fake)
    wanted = 0.7 * diversity_gap(real=real, fake=fake)
    torch.testing.assert_close(found["loss_g"], wanted)
    torch.testing.assert_close(ours, torch.autograd.grad(wanted, fake)[0])


@pytest.mark.parametrize("weight", ["0", "-1", "inf"])
def test_bad_parameters_are_refused(weight: str) -> None:
    """A weight is a finite number above zero."""
    with pytest.raises(UsageError, match="weight"):
        parse(f"gdpp:weight={weight}")
