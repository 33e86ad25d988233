"""LeCam regularisation: D's outputs are held near a moving average of what it said of the other side."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from gandiag.errors import UsageError
from gandiag.techniques.base import Batch, Card, Technique, positive, technique


def lecam_term(
    *,
    real: Float[Tensor, ...],
    fake: Float[Tensor, ...],
    real_average: Float[Tensor, ""],
    fake_average: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """E relu(D(real) - fake_average)^2 + E relu(real_average - D(fake))^2, 0-dim.

    The paper has no relu; the authors' code has, in both of its versions (google/lecam-gan), so that a D which errs
    is not pushed further. The two sides may differ in size.
    Source: Tseng et al. 2021, arXiv:2104.03310, section 3.

    Args:
        real: D's logits for real samples.
        fake: D's logits for fake samples.
        real_average: moving average of D's mean logit for real samples, no graph.
        fake_average: the same for fake samples.
    """
    over = functional.relu(real - fake_average).square().mean()
    under = functional.relu(real_average - fake).square().mean()
    return over + under


@dataclass
class MovingAverage:
    """An exponential moving average that is not drawn to its start: the weights of what it has seen sum to one."""

    decay: float
    steps: int = 0
    _sum: Tensor | None = None

    def update(self, value: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """The average with `value` in it; it stays on the device."""
        added = (1 - self.decay) * value.detach()
        self._sum = added if self._sum is None else self.decay * self._sum + added
        self.steps += 1
        return self._sum / (1 - self.decay**self.steps)


@technique(
    Card(
        name="lecam",
        summary="Adds a pull of D's outputs towards the moving average of its outputs on the other side to D's loss.",
        treats={"GD201": 0.35, "GD203": 0.25, "GD101": 0.15},
        source="Tseng et al. 2021, arXiv:2104.03310, section 3; code: google/lecam-gan",
        seams=("gradients",),
        cost=1.7,
        cautions=(
            "made for small data sets, whose samples D learns by heart; with plenty of data it gains little",
            "needs logits that have a zero: relativistic losses have none",
            "the averages are not in the script's checkpoints: a resumed run starts them anew",
        ),
        conflicts=("rpgan", "rpgan_r1_r2", "ragan"),
        snippet="""\
d_real, d_fake = D(x_real), D(x_fake.detach())              # logits, before any sigmoid
step = step + 1                                             # from 0, as are sum_real and sum_fake
sum_real = {decay} * sum_real + (1 - {decay}) * d_real.detach().mean()
sum_fake = {decay} * sum_fake + (1 - {decay}) * d_fake.detach().mean()
if step > {warmup}:
    seen = 1 - {decay} ** step
    over = F.relu(d_real - sum_fake / seen).square().mean()
    under = F.relu(sum_real / seen - d_fake).square().mean()
    loss_d = loss_d + {lam} * (over + under)""",
    )
)
@dataclass
class LeCam(Technique):
    """LeCam regularisation, added to the script's own loss of D.

    Attributes:
        lam: strength, above zero; 0.3 is the authors' for BigGAN on CIFAR.
        decay: of the averages, in (0, 1); 0.99 is the authors' for StyleGAN2, 0.9 for BigGAN.
        warmup: D's first steps, in which the averages are kept and nothing is added.
    """

    lam: float = 0.3
    decay: float = 0.99
    warmup: int = 0
    _averages: dict[nn.Module, tuple[MovingAverage, MovingAverage]] = field(
        default_factory=dict, init=False, repr=False
    )

    def check(self) -> None:
        """Refuse strengths, decays and delays that mean nothing."""
        positive("lecam", lam=self.lam)
        if not 0 < self.decay < 1:
            raise UsageError(f"technique 'lecam': decay must lie between 0 and 1, got {self.decay}")
        if self.warmup < 0:
            raise UsageError(f"technique 'lecam': warmup is a number of steps, 0 or more, got {self.warmup}")

    def d_loss(self, batch: Batch) -> Tensor | None:
        """`lam` * (E relu(D(real) - average fake)^2 + E relu(average real - D(fake))^2)."""
        real, fake = batch.critic(batch.real), batch.critic(batch.fake, like="fake")
        if batch.net not in self._averages:
            self._averages[batch.net] = MovingAverage(self.decay), MovingAverage(self.decay)
        of_real, of_fake = self._averages[batch.net]
        # As in the authors' code this batch is in the averages that it is compared with.
        real_average, fake_average = of_real.update(real.mean()), of_fake.update(fake.mean())
        if of_real.steps <= self.warmup:
            return None
        return self.lam * lecam_term(real=real, fake=fake, real_average=real_average, fake_average=fake_average)
