"""The loss of the healthy recipes: a relativistic GAN with both zero-centred gradient penalties.

Huang et al., "The GAN is dead; long live the GAN!" (R3GAN), 2024, arXiv 2501.05441, eq. 2 to 4. Written out here, in
plain PyTorch, because the demo scripts know nothing of gandiag.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def relativistic_d_loss(discriminator: nn.Module, real: Tensor, fake: Tensor, gamma: float) -> Tensor:
    """The discriminator's loss on paired batches [n, ...]: a real must beat its fake, and slopes stay gentle."""
    real = real.detach().requires_grad_()
    fake = fake.detach().requires_grad_()
    real_logits, fake_logits = discriminator(real), discriminator(fake)
    # R1 is the squared slope at the reals, R2 the one at the fakes.
    slopes = torch.autograd.grad(real_logits.sum() + fake_logits.sum(), [real, fake], create_graph=True)
    penalty = sum(slope.square().flatten(1).sum(dim=1).mean() for slope in slopes)
    return F.softplus(fake_logits - real_logits).mean() + gamma / 2 * penalty


def relativistic_g_loss(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The generator's loss: each fake must score above the real that it is paired with."""
    return F.softplus(discriminator(real) - discriminator(fake)).mean()
