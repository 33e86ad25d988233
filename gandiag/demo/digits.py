"""A GAN on scikit-learn's 1,797 handwritten digits, as a first image GAN is often written; most digits vanish.

Fully connected networks, a sigmoid and BCE, and Adam with a learning rate of 2e-3, ten times what the literature uses,
because training seemed slow. The generator hops between a few of the ten digits and never draws them all; on some seeds
it ends on a single picture. With --healthy it is a small DCGAN (Radford et al., 2015, arXiv 1511.06434) with that
paper's learning rate and beta1, and draws all ten.

    python digits.py                the collapse
    python digits.py --healthy      all ten digits

The script knows nothing of gandiag.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

if __package__:
    from .data import DigitReader, digit_images, report
else:  # run as a plain file: the helpers are its neighbours
    from data import DigitReader, digit_images, report  # type: ignore[import-not-found, no-redef]

BATCH = 64


class Generator(nn.Module):
    """Noise [n, latent] to images [n, 1, 8, 8] in [-1, 1]."""

    latent = 8

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(self.latent, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Draw an image for each noise vector."""
        images: Tensor = self.model(z)
        return images.view(-1, 1, 8, 8)


class Discriminator(nn.Module):
    """Images [n, 1, 8, 8] to probabilities [n, 1] of being real."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Judge each image."""
        validity: Tensor = self.model(x)
        return validity


class ConvGenerator(nn.Module):
    """The DCGAN's: noise [n, latent] to images [n, 1, 8, 8] in [-1, 1]."""

    latent = 32

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(self.latent, 64 * 2 * 2),
            nn.Unflatten(1, (64, 2, 2)),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Draw an image for each noise vector."""
        images: Tensor = self.model(z)
        return images


class ConvDiscriminator(nn.Module):
    """The DCGAN's: images [n, 1, 8, 8] to probabilities [n, 1] of being real."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.BatchNorm2d(64),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(64 * 2 * 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Judge each image."""
        validity: Tensor = self.model(x)
        return validity


def train(steps: int, *, healthy: bool) -> Generator | ConvGenerator:
    """Train for `steps` iterations and return the generator."""
    lr = 2e-4 if healthy else 2e-3
    beta1 = 0.5 if healthy else 0.9

    images, _ = digit_images()
    generator = ConvGenerator() if healthy else Generator()
    discriminator = ConvDiscriminator() if healthy else Discriminator()
    adversarial_loss = nn.BCELoss()
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=lr, betas=(beta1, 0.999))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=lr, betas=(beta1, 0.999))
    valid = torch.ones(BATCH, 1)
    fake = torch.zeros(BATCH, 1)

    for step in range(1, steps + 1):
        real_images = images[torch.randint(len(images), (BATCH,))]

        # The generator goes first.
        optimizer_g.zero_grad()
        generated = generator(torch.randn(BATCH, generator.latent))
        g_loss = adversarial_loss(discriminator(generated), valid)
        g_loss.backward()
        optimizer_g.step()

        # Then the discriminator, on the same images.
        optimizer_d.zero_grad()
        real_loss = adversarial_loss(discriminator(real_images), valid)
        fake_loss = adversarial_loss(discriminator(generated.detach()), fake)
        d_loss = (real_loss + fake_loss) / 2
        d_loss.backward()
        optimizer_d.step()

        if step % 250 == 0:
            print(f"step {step:5d}  loss of D {d_loss.item():.3f}  of G {g_loss.item():.3f}", flush=True)

    return generator


def main() -> None:
    """Read the options, train, and say honestly what the generator has learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="training iterations (default: 2500, with --healthy 1500)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--healthy", action="store_true", help="the recipe that does not collapse")
    parser.add_argument(
        "--out", type=Path, help="folder for the samples and the evaluation; without it nothing is kept"
    )
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    generator = train(args.steps or (1500 if args.healthy else 2500), healthy=args.healthy)

    with torch.no_grad():
        samples = generator(torch.randn(2500, generator.latent))
    reader = DigitReader()
    shares = reader.read(samples).bincount(minlength=10) / len(samples)
    images, _ = digit_images()
    result = {
        "modes": int((shares > 0.01).sum()),
        "of": 10,
        "shares": [round(share, 3) for share in shares.tolist()],
        "pixel_std": round((samples.std(dim=0).mean() / images.std(dim=0).mean()).item(), 2),
        "reader_accuracy": reader.accuracy,
    }
    print(f"{result['modes']} of 10 digits have more than 1 % of the samples (read by a classifier that is right in")
    print(
        f"{reader.accuracy:.1%} of held-out real digits); pixels vary {result['pixel_std']:.0%} as much as in the data"
    )
    report(result, samples, args.out)


if __name__ == "__main__":
    main()
