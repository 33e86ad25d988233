"""A GAN on twenty-five Gaussians on a grid, the second thing that people try; it keeps ten to fifteen of them.

Two small tanh networks, and a discriminator with five times the generator's learning rate, which is often advised. In
the first thousand steps the generator touches nearly all modes; then it gives them up one by one, and ends with some
modes empty and others at three times their share.

    python grid.py                  the collapse
    python grid.py --healthy        a loss that keeps all twenty-five, and a wider generator

The script knows nothing of gandiag.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

if __package__:
    from .data import GRID_STD, count_modes, grid_modes, report, sample_mixture
    from .losses import relativistic_d_loss, relativistic_g_loss
else:  # run as a plain file: the helpers are its neighbours
    from data import GRID_STD, count_modes, grid_modes, report, sample_mixture  # type: ignore[import-not-found, no-redef]
    from losses import relativistic_d_loss, relativistic_g_loss  # type: ignore[import-not-found, no-redef]

BATCH = 128


class Generator(nn.Module):
    """Noise [n, latent] to points [n, 2]."""

    def __init__(self, latent: int, hidden: int) -> None:
        super().__init__()
        self.latent = latent
        self.hidden1 = nn.Linear(latent, hidden)
        self.hidden2 = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, z: Tensor) -> Tensor:
        """Make a point of each noise vector."""
        h = torch.tanh(self.hidden1(z))
        h = torch.tanh(self.hidden2(h))
        points: Tensor = self.out(h)
        return points


class Discriminator(nn.Module):
    """Points [n, 2] to logits [n, 1]: above zero means "real"."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden1 = nn.Linear(2, 128)
        self.hidden2 = nn.Linear(128, 128)
        self.out = nn.Linear(128, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Judge each point."""
        h = torch.tanh(self.hidden1(x))
        h = torch.tanh(self.hidden2(h))
        logits: Tensor = self.out(h)
        return logits


def train(steps: int, *, healthy: bool) -> Generator:
    """Train for `steps` iterations and return the generator."""
    lr_g, lr_d = 1e-3, 5e-3
    betas = (0.8, 0.999)
    gamma = 0.3

    modes = grid_modes()
    generator = Generator(latent=4, hidden=256) if healthy else Generator(latent=2, hidden=128)
    discriminator = Discriminator()
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=lr_g, betas=betas)
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=lr_d, betas=betas)
    criterion = nn.BCEWithLogitsLoss()

    for step in range(1, steps + 1):
        real = sample_mixture(modes, GRID_STD, BATCH)
        fake = generator(torch.randn(BATCH, generator.latent))

        # Discriminator: one backward of the sum.
        if healthy:
            loss_d = relativistic_d_loss(discriminator, real, fake, gamma)
        else:
            logits_real = discriminator(real)
            logits_fake = discriminator(fake.detach())
            loss_d = criterion(logits_real, torch.ones_like(logits_real)) + criterion(
                logits_fake, torch.zeros_like(logits_fake)
            )
        optimizer_d.zero_grad()
        loss_d.backward()  # type: ignore[no-untyped-call]
        optimizer_d.step()

        # Generator.
        if healthy:
            loss_g = relativistic_g_loss(discriminator, real, fake)
        else:
            logits_fake = discriminator(fake)
            loss_g = criterion(logits_fake, torch.ones_like(logits_fake))
        optimizer_g.zero_grad()
        loss_g.backward()  # type: ignore[no-untyped-call]
        optimizer_g.step()

        if healthy:  # let the learning rates run out over the second half, so that the game comes to rest
            left = min(1.0, 2 - 2 * step / steps)
            optimizer_g.param_groups[0]["lr"] = lr_g * left
            optimizer_d.param_groups[0]["lr"] = lr_d * left

        if step % 500 == 0:
            print(f"step {step:5d}  loss of D {loss_d.item():.3f}  of G {loss_g.item():.3f}", flush=True)

    return generator


def main() -> None:
    """Read the options, train, and say honestly what the generator has learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000, help="training iterations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--healthy", action="store_true", help="the recipe that does not collapse")
    parser.add_argument(
        "--out", type=Path, help="folder for the samples and the evaluation; without it nothing is kept"
    )
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    generator = train(args.steps, healthy=args.healthy)

    with torch.no_grad():
        samples = generator(torch.randn(2500, generator.latent))
    result = count_modes(samples, grid_modes(), GRID_STD)
    print(f"{result['modes']} of {result['of']} modes, {result['high_quality']:.1%} of the samples in a mode")
    report(result, samples, args.out)


if __name__ == "__main__":
    main()
