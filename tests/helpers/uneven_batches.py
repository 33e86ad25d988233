"""A loop whose last batches of real samples are smaller than the batches of fakes that go with them."""

from __future__ import annotations

import torch
from helpers.gan_loops import Hand, Script, ring
from torch import Tensor
from torch.nn import functional


def shrinking() -> list[Tensor]:
    """Batches of 16, 16, 7 and 3 rows; the loop makes 16 fakes for each."""
    return [x[:n] for x, n in zip(ring(steps=4), (16, 16, 7, 3), strict=True)]


def uneven(s: Script, hand: Hand) -> None:
    """Cross-entropy on logits, 16 fakes for whatever the loader gives."""
    for real in s.batches:
        s.optimizer_d.zero_grad()
        fake = s.g(torch.randn(16, 2))
        loss = functional.softplus(-s.d(real)).mean() + functional.softplus(s.d(fake.detach())).mean()
        if (own := hand.d_loss(s, real=real, fake=fake.detach())) is not None:
            loss = own
        loss.backward()
        if (term := hand.d_term(s, real=real, fake=fake.detach())) is not None:
            term.backward()
        s.optimizer_d.step()
        hand.after_d_step(s)
        s.optimizer_g.zero_grad()
        loss = functional.softplus(-s.d(fake)).mean()
        if (own := hand.g_loss(s, real=real, fake=fake)) is not None:
            loss = own
        loss.backward()
        s.optimizer_g.step()
