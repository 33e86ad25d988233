"""Several optimizers, and several techniques that set them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import D, Hand, Script, assert_same, dcgan, net_for, script, train, watched
from helpers.unrecorded import unrecorded
from torch import Tensor, nn
from torch.nn import functional

import gandiag


class TwoCritics(nn.Module):
    """Two discriminators in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = D(), D()


@pytest.mark.parametrize("split", ["nets", "layers"])
def test_several_optimizers_of_d_pay_for_each_weight_once(split: str, tmp_path: Path) -> None:
    """A penalty on weights, one optimizer for each D or for each half of both, all stepped after all backwards."""

    def optimizers(s: Script) -> list[torch.optim.Optimizer]:
        a, b = s.d.a, s.d.b
        parts = (a, b) if split == "nets" else ([a.first, b.first], [a.middle, a.last, b.middle, b.last])
        groups = [
            [p for net in (part if isinstance(part, list) else [part]) for p in net.parameters()] for part in parts
        ]
        return [torch.optim.SGD(group, lr=0.02) for group in groups]

    def loop(s: Script, hand: Hand) -> None:
        several = optimizers(s)
        for real in s.batches:
            for optimizer in several:
                optimizer.zero_grad()
            fake = s.g(torch.randn(len(real), 2))
            for d in (s.d.a, s.d.b):
                (functional.softplus(-d(real)).mean() + functional.softplus(d(fake.detach())).mean()).backward()
            if (term := hand.d_term(s, real=real, fake=fake)) is not None:
                term.backward()
            for optimizer in several:
                optimizer.step()
            s.optimizer_g.zero_grad()
            (functional.softplus(-s.d.a(fake)).mean() + functional.softplus(-s.d.b(fake)).mean()).backward()
            s.optimizer_g.step()

    class L2(Hand):
        def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor:
            return 0.1 / 2 * sum(p.square().sum() for p in s.d.parameters() if p.ndim >= 2)

    ours, theirs = (script(d=TwoCritics) for _ in range(2))
    ours.optimizer_d = theirs.optimizer_d = torch.optim.SGD([torch.zeros(())], lr=0.0)
    with gandiag.watch(
        ours.g, [ours.d.a, ours.d.b], run_dir=tmp_path / "run", techniques=["l2:d=0.1,g=0"], strict=True
    ) as run:
        unrecorded(run)
        train(loop, ours)
    train(loop, theirs, L2())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


@pytest.mark.parametrize("order", [["ttur:ratio=2", "lr_decay:over=50"], ["lr_decay:over=50", "ttur:ratio=2"]])
def test_a_decay_is_of_the_rate_that_ttur_sets(order: list[str], tmp_path: Path) -> None:
    """In either order D's rate is twice G's and falls with it."""
    ours, theirs = (script(d=net_for("dcgan")) for _ in range(2))
    watched(dcgan, ours, order, tmp_path)
    watched(dcgan, theirs, sorted(order), tmp_path / "sorted")
    assert_same(ours.tensors(), theirs.tensors())
    plain = script(d=net_for("dcgan"))
    watched(dcgan, plain, ["lr_decay:over=50"], tmp_path / "plain")
    assert not torch.equal(plain.d.first.weight, ours.d.first.weight)
