"""Loops that are less plain: labels, tuples, odd batches, several discriminators, zeroed gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import D, Hand, Script, assert_same, dcgan, g_first, net_for, ring, script, train, watched
from helpers.kinds import KINDS, Kind, trained
from helpers.unrecorded import unrecorded
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

import gandiag
from gandiag.errors import TechniqueRefused
from gandiag.techniques import TECHNIQUES


class LabelD(D):
    """D(x, y): the label enters with the sample."""

    def __init__(self) -> None:
        super().__init__(inputs=5)
        self.label = nn.Embedding(8, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.logits(torch.cat([x, self.label(y)], dim=1))


def conditional(s: Script, hand: Hand) -> None:
    for i, real in enumerate(s.batches):
        y_real, y_fake = (torch.arange(len(real)) + i) % 8, torch.randint(8, (len(real),))
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2))
        if (loss := hand.d_loss(s, real=(real, y_real), fake=(fake.detach(), y_fake))) is None:
            loss = (
                functional.softplus(-s.d(real, y_real)).mean()
                + functional.softplus(s.d(fake.detach(), y=y_fake)).mean()
            )
        loss.backward()
        if (term := hand.d_term(s, real=(real, y_real), fake=(fake.detach(), y_fake))) is not None:
            term.backward()
        s.optimizer_d.step()
        s.optimizer_g.zero_grad()
        if (loss := hand.g_loss(s, real=(real, y_real), fake=(fake, y_fake))) is None:
            loss = functional.softplus(-s.d(fake, y_fake)).mean()
        loss.backward()
        s.optimizer_g.step()


def slope(s: Script, side: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """D's logits, and its mean squared slope in the samples."""
    x = side[0].detach().requires_grad_()
    logits = s.d(x, side[1])
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return logits, gradient.square().flatten(1).sum(1).mean()


class LabelledR1(Hand):
    def d_term(self, s: Script, *, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> Tensor:
        return 0.5 / 2 * slope(s, real)[1]


class LabelledRpGAN(Hand):
    def d_loss(self, s: Script, *, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> Tensor:
        (d_real, r1), (d_fake, r2) = slope(s, real), slope(s, fake)
        return functional.softplus(-(d_real - d_fake)).mean() + 0.5 / 2 * (r1 + r2)

    def g_loss(self, s: Script, *, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> Tensor:
        return functional.softplus(-(s.d(*fake) - s.d(*real).detach())).mean()


@pytest.mark.parametrize(
    ("technique", "hand"), [("r1:gamma=0.5", LabelledR1()), ("rpgan_r1_r2:gamma=0.5", LabelledRpGAN())]
)
def test_a_conditional_d_keeps_its_labels(technique: str, hand: Hand, tmp_path: Path) -> None:
    """Real samples are judged with the labels of the real batch, fakes with theirs, by position or by name."""
    ours, theirs = (script(d=LabelD) for _ in range(2))
    watched(conditional, ours, [technique], tmp_path)
    train(conditional, theirs, hand)
    assert_same(ours.tensors(), theirs.tensors())


def test_packs_of_labelled_samples(tmp_path: Path) -> None:
    """A label that enters with its sample is packed with it."""
    ours = script(d=LabelD)
    run = watched(conditional, ours, ["pacgan:m=2"], tmp_path)
    assert run.techniques[0].added().keys() == {ours.d.first}


class ProjectionD(D):
    """The usual conditional D: the label's vector times the features, after or before the score."""

    def __init__(self, *, label_last: bool) -> None:
        super().__init__()
        self.label = nn.Embedding(8, self.last.in_features)
        self.label_last = label_last

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        features = self.features(x)
        parts = [lambda: self.last(features), lambda: (self.label(y) * features).sum(1, keepdim=True)]
        first, second = parts if self.label_last else reversed(parts)
        return first() + second()


@pytest.mark.parametrize("label_last", [True, False])
@pytest.mark.parametrize("technique", ["feature_matching", "gdpp", "minibatch_discrimination", "minibatch_stddev"])
def test_the_last_layer_of_a_projection_discriminator(technique: str, label_last: bool, tmp_path: Path) -> None:
    """It is the one that the samples pass, whichever of the two is called last; D ends the same in both orders."""
    ends = []
    for order in (label_last, True):
        ours = script(d=lambda order=order: ProjectionD(label_last=order))
        run = watched(conditional, ours, [technique], tmp_path / str(order))
        assert set(run.techniques[0].added()) <= {ours.d.last}
        assert run.interventions.counts[technique] >= 50
        ends.append(ours.tensors())
    assert_same(*ends, within=1e-9)


def test_a_labelled_batch_of_real_and_fake_together(tmp_path: Path) -> None:
    """D(cat(real, fake), cat(labels)): each half keeps its own labels."""

    def loop(s: Script, hand: Hand) -> None:
        for i, real in enumerate(s.batches):
            y_real, y_fake = (torch.arange(len(real)) + i) % 8, torch.randint(8, (len(real),))
            s.optimizer_d.zero_grad()
            fake = s.g(torch.randn(len(real), 2))
            logits = s.d(torch.cat([real, fake.detach()]), torch.cat([y_real, y_fake]))
            target = torch.cat([torch.ones(len(real), 1), torch.zeros(len(real), 1)])
            loss = functional.binary_cross_entropy_with_logits(logits, target)
            if (own := hand.d_loss(s, real=(real, y_real), fake=(fake.detach(), y_fake))) is not None:
                loss = own
            loss.backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            if (loss := hand.g_loss(s, real=(real, y_real), fake=(fake, y_fake))) is None:
                loss = functional.softplus(-s.d(fake, y_fake)).mean()
            loss.backward()
            s.optimizer_g.step()

    ours, theirs = (script(d=LabelD) for _ in range(2))
    watched(loop, ours, ["rpgan_r1_r2:gamma=0.5"], tmp_path)
    train(loop, theirs, LabelledRpGAN())
    assert_same(ours.tensors(), theirs.tensors())


def two_headed(kind: Kind) -> type[nn.Module]:
    """D returns [logits, class scores], as an auxiliary classifier does; the classes' head runs last."""

    def init(self: nn.Module) -> None:
        kind.d.__init__(self, sigmoid=False)
        self.classes = nn.Linear(kind.features, 8)

    def forward(self: nn.Module, x: Tensor) -> list[Tensor]:
        h = self.features(x)
        return [self.last(h).view(-1, 1), self.classes(h.flatten(1))]

    return type("TwoHeads", (kind.d,), {"__init__": init, "forward": forward})


def two_heads(s: Script, hand: Hand) -> None:
    for real in s.batches:
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2))
        y = torch.arange(len(real)) % 8
        logits, classes = s.d(real)
        loss = functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        loss = loss + functional.cross_entropy(classes, y) + functional.softplus(s.d(fake.detach())[0]).mean()
        loss.backward()
        s.optimizer_d.step()
        s.optimizer_g.zero_grad()
        functional.softplus(-s.d(fake)[0]).mean().backward()
        s.optimizer_g.step()


@pytest.mark.parametrize("name", TECHNIQUES.names())
def test_a_d_that_returns_a_list(name: str, tmp_path: Path) -> None:
    """The first tensor is the score; each technique trains with it."""
    ours, run, _ = trained(name, two_heads, two_headed, tmp_path)
    assert run.interventions.counts[name] >= 3
    assert all(value.isfinite().all() for value in ours.tensors().values())


def test_the_head_is_what_the_score_comes_from(tmp_path: Path) -> None:
    """The class scores are computed after the score: closeness is added to the score all the same."""
    ours = script(d=two_headed(KINDS[0]), data=lambda: ring(steps=2))
    run = watched(two_heads, ours, ["minibatch_discrimination"], tmp_path)
    assert run.techniques[0].added().keys() == {ours.d.last}


@pytest.mark.parametrize(
    "name", ["pacgan:m=4", "rpgan_r1_r2", "wgan_gp", "minibatch_discrimination", "feature_matching"]
)
def test_a_smaller_last_batch(name: str, tmp_path: Path) -> None:
    """The last batch of an epoch has fewer rows than the fakes that the script makes."""

    def loop(s: Script, hand: Hand) -> None:
        for real in s.batches:
            s.optimizer_d.zero_grad()
            fake = s.g(torch.randn(16, 2))
            (functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()).backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            functional.softplus(-s.d(fake)).mean().backward()
            s.optimizer_g.step()

    ours = script(data=lambda: [x[:n] for x, n in zip(ring(steps=4), (16, 16, 7, 3), strict=True)])
    watched(loop, ours, [name], tmp_path)
    assert all(value.isfinite().all() for value in ours.tensors().values())


class TwoCritics(nn.Module):
    """Two discriminators under one optimizer; the script calls each by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = D(), D()


def both(s: Script, hand: Hand) -> None:
    for real in s.batches:
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(len(real), 2))
        for d in (s.d.a, s.d.b):
            (functional.softplus(-d(real)).mean() + functional.softplus(d(fake.detach())).mean()).backward()
            if (term := hand.d_term(d, real=real, fake=fake.detach())) is not None:
                term.backward()
        s.optimizer_d.step()
        s.optimizer_g.zero_grad()
        (functional.softplus(-s.d.a(fake)).mean() + functional.softplus(-s.d.b(fake)).mean()).backward()
        s.optimizer_g.step()


def watch_both(s: Script, techniques: list[str], folder: Path) -> gandiag.watch:
    with gandiag.watch(s.g, [s.d.a, s.d.b], run_dir=folder / "run", techniques=techniques, strict=True) as run:
        unrecorded(run)
        train(both, s)
    return run


@pytest.mark.parametrize("every", [1, 2])
def test_two_discriminators_each_pay_their_whole_penalty(every: int, tmp_path: Path) -> None:
    """R1 is a mean over the batches of one net, not over the nets; lazily, both pay at their first and third step."""

    class R1(Hand):
        turns = 0

        def d_term(self, d: nn.Module, *, real: Tensor, fake: Tensor) -> Tensor | None:
            self.turns += 1
            if (self.turns - 1) // 2 % every:
                return None
            x = real.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
            return every * 0.5 / 2 * gradient.square().sum(1).mean()

    ours, theirs = (script(d=TwoCritics) for _ in range(2))
    watch_both(ours, [f"r1:gamma=0.5,every={every}"], tmp_path)
    train(both, theirs, R1())
    assert_same(ours.tensors(), theirs.tensors(), within=1e-6)


#: What acts on D's weights by D's own step, and by the first steps.
ON_D = ("d_loss", "d_term", "weights", "widen", "d_input")
#: What waits, and a loss of D that is the script's own.
SAME = ("apa", "ada", "reweighting", "adaptive_n_critic", "non_saturating")
ONE_D = [name for name in TECHNIQUES.names() if TECHNIQUES[name].one_d]


@pytest.mark.parametrize("name", ONE_D)
def test_what_is_defined_for_one_discriminator_is_refused_for_two(name: str, tmp_path: Path) -> None:
    """The gradient of a game of two players, and the slope of the one D: with the number of those that there are."""
    ours = script(d=TwoCritics)
    with pytest.raises(TechniqueRefused, match=f"{name} is defined for one discriminator.*trains 2"):
        watched(both, ours, [name], tmp_path, d_nets=[ours.d.a, ours.d.b])


@pytest.mark.parametrize("name", [name for name in TECHNIQUES.names() if name not in ONE_D])
def test_two_discriminators_each_have_their_own_additions(name: str, tmp_path: Path) -> None:
    """Every technique acts on both, and what it adds to one is not used for the other."""

    def twins(kind: Kind) -> Callable[[], nn.Module]:
        def make() -> nn.Module:
            pair = TwoCritics()
            pair.a, pair.b = kind.d(sigmoid=False), kind.d(sigmoid=False)
            return pair

        return make

    ours, run, kind = trained(name, both, twins, tmp_path, d_nets=lambda s: [s.d.a, s.d.b])
    if run.techniques[0].has(*ON_D) and name not in SAME:
        plain = train(both, script(g=kind.g, d=twins(kind), data=lambda: kind.data(6)))
        for ours_d, plain_d in ((ours.d.a, plain.d.a), (ours.d.b, plain.d.b)):
            assert any(not torch.equal(p, q) for p, q in zip(ours_d.parameters(), plain_d.parameters(), strict=True))
    added = run.techniques[0].added()
    of = {net: {layer for layer in net.modules() if layer in added} for net in (ours.d.a, ours.d.b)}
    assert len(of[ours.d.a]) == len(of[ours.d.b])
    assert set(added) == of[ours.d.a] | of[ours.d.b]
    assert all(value.isfinite().all() for value in ours.tensors().values())


@pytest.mark.parametrize("technique", ["r1", "rpgan_r1_r2", "pacgan"])
def test_gradients_that_are_zeroed_and_not_dropped(technique: str, tmp_path: Path) -> None:
    """zero_grad(set_to_none=False) makes no difference."""

    def keeping(s: Script, hand: Hand) -> None:
        for optimizer in (s.optimizer_g, s.optimizer_d):
            drop = optimizer.zero_grad
            optimizer.zero_grad = lambda drop=drop: drop(set_to_none=False)
        dcgan(s, hand)

    ours, theirs = (script(d=net_for("dcgan"), data=lambda: ring(steps=6)) for _ in range(2))
    watched(keeping, ours, [technique], tmp_path / "kept")
    watched(dcgan, theirs, [technique], tmp_path / "dropped")
    assert_same(ours.tensors(), theirs.tensors())


def test_added_weights_follow_their_layers_group(tmp_path: Path) -> None:
    """The first layer's group has a rate of zero, the last one's has not: so have the blocks beside them."""
    ours = script(data=lambda: ring(steps=6))
    first, rest = [*ours.d.first.parameters()], [*ours.d.middle.parameters(), *ours.d.last.parameters()]
    ours.optimizer_d = Adam([{"params": first, "lr": 0.0}, {"params": rest}], lr=1e-2)
    run = watched(g_first, ours, ["pacgan", "minibatch_discrimination:kernels=4"], tmp_path)
    pacgan, minibatch = run.techniques
    fresh = script()
    other = watched(
        lambda s, hand: s.d(s.batches[0]), fresh, ["pacgan", "minibatch_discrimination:kernels=4"], tmp_path / "0"
    )
    assert torch.equal(pacgan.added()[ours.d.first][0], other.techniques[0].added()[fresh.d.first][0])
    assert not torch.equal(minibatch.added()[ours.d.last][0], other.techniques[1].added()[fresh.d.last][0])


def test_an_in_place_first_operation(tmp_path: Path) -> None:
    """D that begins by changing its input in place is no obstacle for a technique that acts on what flows into G."""

    class InPlace(D):
        def forward(self, x: Tensor) -> Tensor:
            return self.logits(x.mul_(0.5))

    def loop(s: Script, hand: Hand) -> None:
        for real in s.batches:
            s.optimizer_d.zero_grad()
            fake = s.g(torch.randn(len(real), 2))
            loss = (
                functional.softplus(-s.d(real.clone())).mean() + functional.softplus(s.d(fake.detach().clone())).mean()
            )
            loss.backward()
            s.optimizer_d.step()
            s.optimizer_g.zero_grad()
            functional.softplus(-s.d(fake.clone())).mean().backward()
            s.optimizer_g.step()

    ours = script(d=InPlace, data=lambda: ring(steps=4))
    run = watched(loop, ours, ["feature_matching"], tmp_path)
    assert run.interventions.counts == {"feature_matching": 4}
