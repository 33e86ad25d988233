"""Plain training loops in three styles, and the places at which a person would write a technique into them.

The loops know nothing of gandiag. `Hand` is the person: its methods are the marked places `# <...>`, and the
base class leaves the script as it is. A test trains the plain loop under `gandiag.watch(techniques=[...])` and
the loop with a `Hand` without gandiag, from the same start, and compares every tensor that training changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from helpers.objects import few_objects
from helpers.unrecorded import unrecorded
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, Optimizer

import gandiag
from gandiag.interventions.engine import SEED
from gandiag.watch import Run

STEPS, ROWS, WIDTH = 50, 16, 12


class G(nn.Module):
    """An MLP from 2 numbers to 2."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class D(nn.Module):
    """An MLP from `inputs` numbers to one logit, or to one probability."""

    def __init__(self, *, sigmoid: bool = False, inputs: int = 2, extra: int = 0) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, WIDTH)
        self.middle = nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH + extra, 1)
        self.sigmoid = sigmoid

    def features(self, x: Tensor) -> Tensor:
        h = functional.leaky_relu(self.first(x), 0.2)
        return functional.leaky_relu(self.middle(h), 0.2)

    def logits(self, x: Tensor) -> Tensor:
        return self.last(self.features(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x).sigmoid() if self.sigmoid else self.logits(x)


class ConvG(nn.Module):
    """DCGAN's shape in small: 2 numbers to a 1x8x8 picture."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ConvTranspose2d(2, 6, 4)
        self.last = nn.ConvTranspose2d(6, 1, 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.last(self.first(z[:, :, None, None]).relu()).tanh()


class ConvD(nn.Module):
    """DCGAN's discriminator in small: a strided convolution, then a 4x4 one as the head."""

    def __init__(self, *, sigmoid: bool = True, channels: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 6, 4, 2, 1)
        self.last = nn.Conv2d(6, 1, 4, bias=False)
        self.sigmoid = sigmoid

    def features(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.first(x), 0.2)

    def logits(self, x: Tensor) -> Tensor:
        return self.last(self.features(x)).view(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x).sigmoid() if self.sigmoid else self.logits(x)


@dataclass
class Script:
    """What a training script has before its loop."""

    g: nn.Module
    d: nn.Module
    optimizer_g: Optimizer
    optimizer_d: Optimizer
    batches: list[Tensor] = field(default_factory=list)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that training changes: weights, buffers, optimizer states."""
        found = {}
        for name, part in vars(self).items():
            if isinstance(part, nn.Module):
                found |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
            if isinstance(part, Optimizer):
                for i, state in part.state_dict()["state"].items():
                    found |= {f"{name}.{i}.{key}": torch.as_tensor(value) for key, value in state.items()}
        return {name: value.detach().clone() for name, value in found.items()}


def ring(rows: int = ROWS, steps: int = STEPS) -> list[Tensor]:
    """Batches (rows, 2) of eight Gaussians on a circle."""
    generator = torch.Generator().manual_seed(3)
    batches = []
    for _ in range(steps):
        angle = torch.randint(8, (rows,), generator=generator) * (torch.pi / 4)
        noise = torch.randn((rows, 2), generator=generator, dtype=torch.get_default_dtype())
        batches.append(torch.stack([angle.cos(), angle.sin()], dim=1).to(noise.dtype) + 0.05 * noise)
    return batches


def pictures(steps: int = STEPS) -> list[Tensor]:
    """Batches (rows, 1, 8, 8) of stripes."""
    return [x.sign()[:, :1, None, None] * torch.linspace(-1, 1, 8)[:, None].expand(1, 8, 8) for x in ring(steps=steps)]


def sgd(parameters: Iterator[nn.Parameter]) -> Optimizer:
    return SGD(parameters, lr=0.02, momentum=0.5)


def adam(parameters: Iterator[nn.Parameter]) -> Optimizer:
    return Adam(parameters, lr=2e-3, betas=(0.5, 0.99))


def script(
    *,
    d: Callable[[], nn.Module] = D,
    g: Callable[[], nn.Module] = G,
    optimizer: Callable[[Iterator[nn.Parameter]], Optimizer] = adam,
    data: Callable[[], list[Tensor]] = ring,
) -> Script:
    """Nets with weights that depend on nothing but their shapes, and their optimizers."""
    torch.manual_seed(0)
    g_net = g()
    torch.manual_seed(1)
    d_net = d()
    return Script(g_net, d_net, optimizer(g_net.parameters()), optimizer(d_net.parameters()), data())


class Hand:
    """What a person writes into a loop; here: nothing."""

    def see(self, x: Tensor) -> Tensor:
        """What D gets in place of `x`."""
        return x

    def d_loss(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        """In place of the script's loss of D."""
        return None

    def g_loss(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        """In place of the script's loss of G; `real` is what D last saw as real."""
        return None

    def d_term(self, s: Script, *, real: Tensor, fake: Tensor) -> Tensor | None:
        """Added to D's loss."""
        return None

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        """Added to G's loss."""
        return None

    def latent(self, s: Script, z: Tensor) -> Tensor:
        """What G gets in place of `z`."""
        return z

    def before_step(self, net: nn.Module, optimizer: Optimizer) -> None:
        """Gradients are there, the step is not done."""

    def step(self, s: Script, optimizer: Optimizer) -> None:
        """Do the step."""
        optimizer.step()

    def after_d_step(self, s: Script) -> None:
        """D has stepped."""

    def after_g_step(self, s: Script) -> None:
        """G has stepped."""


def dcgan(s: Script, hand: Hand) -> None:
    """Style 1: two backward passes in D's step, BCE on probabilities, one call of G an iteration."""
    for real in s.batches:
        s.optimizer_d.zero_grad()
        output = s.d(hand.see(real))  # <D INPUT>
        loss_real = functional.binary_cross_entropy(output, _target(hand, output))
        fake = s.g(hand.latent(s, torch.randn(len(real), 2)))  # <G INPUT>
        output = s.d(hand.see(fake.detach()))
        loss_fake = functional.binary_cross_entropy(output, torch.zeros_like(output))
        if (loss := hand.d_loss(s, real=real, fake=fake.detach())) is not None:  # <D LOSS>
            loss.backward()
        else:
            loss_real.backward()
            loss_fake.backward()
        _add(hand.d_term(s, real=real, fake=fake.detach()))  # <D TERM>
        hand.before_step(s.d, s.optimizer_d)  # <BEFORE STEP>
        hand.step(s, s.optimizer_d)  # <STEP>
        hand.after_d_step(s)  # <AFTER D STEP>

        s.optimizer_g.zero_grad()
        output = s.d(hand.see(fake))
        loss_g = functional.binary_cross_entropy(output, torch.ones_like(output))
        if (loss := hand.g_loss(s, real=real, fake=fake)) is not None:  # <G LOSS>
            loss_g = loss
        if (term := hand.g_term(s, real=real, fake=fake)) is not None:  # <G TERM>
            loss_g = loss_g + term
        loss_g.backward()
        hand.before_step(s.g, s.optimizer_g)
        hand.step(s, s.optimizer_g)
        hand.after_g_step(s)  # <AFTER G STEP>


def g_first(s: Script, hand: Hand) -> None:
    """Style 2: G steps first; BCE on logits, detached fakes, (loss_real + loss_fake) / 2."""
    last = None
    for real in s.batches:
        fake = s.g(hand.latent(s, torch.randn(len(real), 2)))
        s.optimizer_g.zero_grad()
        output = s.d(hand.see(fake))  # <D INPUT>
        loss_g = functional.binary_cross_entropy_with_logits(output, torch.ones_like(output))
        if (loss := hand.g_loss(s, real=last, fake=fake)) is not None:  # <G LOSS>
            loss_g = loss
        if (term := hand.g_term(s, real=last, fake=fake)) is not None:  # <G TERM>
            loss_g = loss_g + term
        loss_g.backward()
        hand.before_step(s.g, s.optimizer_g)
        hand.step(s, s.optimizer_g)
        hand.after_g_step(s)  # <AFTER G STEP>

        s.optimizer_d.zero_grad()
        output = s.d(hand.see(real))
        loss_real = functional.binary_cross_entropy_with_logits(output, _target(hand, output))
        output = s.d(hand.see(fake.detach()))
        loss_fake = functional.binary_cross_entropy_with_logits(output, torch.zeros_like(output))
        loss_d = (loss_real + loss_fake) / 2
        if (loss := hand.d_loss(s, real=real, fake=fake.detach())) is not None:  # <D LOSS>
            loss_d = loss
        loss_d.backward()
        _add(hand.d_term(s, real=real, fake=fake.detach()))  # <D TERM>
        hand.before_step(s.d, s.optimizer_d)  # <BEFORE STEP>
        hand.step(s, s.optimizer_d)  # <STEP>
        hand.after_d_step(s)  # <AFTER D STEP>
        last = real


def n_critic(s: Script, hand: Hand) -> None:
    """Style 3: two steps of D for each of G, Wasserstein loss, fakes not detached in D's step."""
    for i, real in enumerate(s.batches):
        s.optimizer_d.zero_grad()
        fake = s.g(hand.latent(s, torch.randn(len(real), 2)))
        loss_d = s.d(hand.see(fake)).mean() - s.d(hand.see(real)).mean()  # <D INPUT>
        if (loss := hand.d_loss(s, real=real, fake=fake)) is not None:  # <D LOSS>
            loss_d = loss
        loss_d.backward()
        _add(hand.d_term(s, real=real, fake=fake))  # <D TERM>
        hand.before_step(s.d, s.optimizer_d)  # <BEFORE STEP>
        hand.step(s, s.optimizer_d)  # <STEP>
        hand.after_d_step(s)  # <AFTER D STEP>
        if i % 2 == 0:
            continue
        s.optimizer_g.zero_grad()
        fake = s.g(hand.latent(s, torch.randn(len(real), 2)))
        loss_g = -s.d(hand.see(fake)).mean()
        if (loss := hand.g_loss(s, real=real, fake=fake)) is not None:  # <G LOSS>
            loss_g = loss
        if (term := hand.g_term(s, real=real, fake=fake)) is not None:  # <G TERM>
            loss_g = loss_g + term
        loss_g.backward()
        hand.before_step(s.g, s.optimizer_g)
        hand.step(s, s.optimizer_g)
        hand.after_g_step(s)  # <AFTER G STEP>


Loop = Callable[[Script, Hand], None]
STYLES: dict[str, Loop] = {"dcgan": dcgan, "g_first": g_first, "n_critic": n_critic}
#: Each style once, and both kinds of optimizer.
CASES = (("dcgan", adam), ("g_first", sgd), ("n_critic", adam))


def net_for(style: str) -> Callable[[], nn.Module]:
    """The D that a style's loss needs."""
    return (lambda: D(sigmoid=True)) if style == "dcgan" else D


def train(loop: Loop, s: Script, hand: Hand | None = None) -> Script:
    """Run a loop without gandiag; its random stream starts where `watched` lets it start."""
    torch.manual_seed(2)
    loop(s, hand or Hand())
    return s


def watched(
    loop: Loop, s: Script, techniques: list[str], folder: Path, *, d_nets: list[nn.Module] | None = None
) -> Run:
    """Run the unmodified loop with techniques turned on from outside; `d_nets` where D is several nets."""
    optimizers = (s.optimizer_g, s.optimizer_d)
    with (
        few_objects(),
        gandiag.watch(
            s.g, d_nets or s.d, run_dir=folder / "run", techniques=techniques, optimizers=optimizers, strict=True
        ) as run,
    ):
        unrecorded(run)
        train(loop, s)
    return run


def own_stream() -> torch.Generator:
    """gandiag's own random stream from its start, for a twin that draws what gandiag draws."""
    return torch.Generator().manual_seed(SEED)


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor], *, within: float = 0.0) -> None:
    """Bit for bit, or within a difference relative to each tensor's largest element."""
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        if within == 0.0:
            assert torch.equal(value, wanted[name]), f"{name}: {(value - wanted[name]).abs().max():.3g}"
        else:
            assert gap(value, wanted[name]) <= within, f"{name}: {gap(value, wanted[name]):.3g}"


def gap(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest element."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))


def _target(hand: Hand, output: Tensor) -> Tensor:
    return torch.full_like(output, getattr(hand, "real_target", 1.0))


def _add(term: Tensor | None) -> None:
    if term is not None:
        term.backward()
