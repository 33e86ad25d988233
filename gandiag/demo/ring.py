"""A GAN on eight Gaussians on a ring, as a first GAN is often written; it loses half of the modes.

Two small tanh networks, the losses of Goodfellow et al. (2014, arXiv 1406.2661), Adam as it comes (learning rate 1e-3,
beta1 0.9), and data that nobody has scaled. The generator soon sits on four to six of the eight modes and has not
found the others when the script ends.

    python ring.py                  the collapse
    python ring.py --healthy        the same networks with a loss that keeps all eight

The script knows nothing of gandiag.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

if __package__:
    from .data import RING_STD, count_modes, report, ring_modes, sample_mixture
    from .losses import relativistic_d_loss, relativistic_g_loss
else:  # run as a plain file: the helpers are its neighbours
    from data import RING_STD, count_modes, report, ring_modes, sample_mixture  # type: ignore[import-not-found, no-redef]
    from losses import relativistic_d_loss, relativistic_g_loss  # type: ignore[import-not-found, no-redef]

LATENT = 2
BATCH = 128


class Generator(nn.Module):
    """Noise [n, 2] to points [n, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(LATENT, 128),
            nn.Tanh(),
            nn.Linear(128, 128),
            nn.Tanh(),
            nn.Linear(128, 2),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Make a point of each noise vector."""
        points: Tensor = self.net(z)
        return points


class Discriminator(nn.Module):
    """Points [n, 2] to logits [n, 1]: above zero means "real"."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, 128),
            nn.Tanh(),
            nn.Linear(128, 128),
            nn.Tanh(),
            nn.Linear(128, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Judge each point."""
        logits: Tensor = self.net(x)
        return logits


def train(steps: int, *, healthy: bool) -> Generator:
    """Train for `steps` iterations and return the generator."""
    lr = 1e-3
    beta1 = 0.5 if healthy else 0.9
    gamma = 1.0

    modes = ring_modes()
    generator = Generator()
    discriminator = Discriminator()
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=lr, betas=(beta1, 0.999))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=lr, betas=(beta1, 0.999))
    bce = nn.BCEWithLogitsLoss()
    ones = torch.ones(BATCH, 1)
    zeros = torch.zeros(BATCH, 1)

    for step in range(1, steps + 1):
        real = sample_mixture(modes, RING_STD, BATCH)
        fake = generator(torch.randn(BATCH, LATENT))

        # Discriminator: reals up, fakes down.
        optimizer_d.zero_grad()
        if healthy:
            relativistic_d_loss(discriminator, real, fake, gamma).backward()  # type: ignore[no-untyped-call]
        else:
            bce(discriminator(real), ones).backward()
            bce(discriminator(fake.detach()), zeros).backward()
        optimizer_d.step()

        # Generator: make the discriminator call the fakes real.
        optimizer_g.zero_grad()
        if healthy:
            loss_g = relativistic_g_loss(discriminator, real, fake)
        else:
            loss_g = bce(discriminator(fake), ones)
        loss_g.backward()  # type: ignore[no-untyped-call]
        optimizer_g.step()

        if healthy:  # let the learning rates run out over the second half, so that the game comes to rest
            for optimizer in (optimizer_g, optimizer_d):
                optimizer.param_groups[0]["lr"] = lr * min(1.0, 2 - 2 * step / steps)

        if step % 500 == 0:
            print(f"step {step:5d}  loss of G {loss_g.item():.3f}", flush=True)

    return generator


def main() -> None:
    """Read the options, train, and say honestly what the generator has learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000, help="training iterations (default: %(default)s)")
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
        samples = generator(torch.randn(2500, LATENT))
    result = count_modes(samples, ring_modes(), RING_STD)
    print(f"{result['modes']} of {result['of']} modes, {result['high_quality']:.1%} of the samples in a mode")
    report(result, samples, args.out)


if __name__ == "__main__":
    main()
