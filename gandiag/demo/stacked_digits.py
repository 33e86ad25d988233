"""A GAN on stacked digits: three handwritten digits as one picture's channels, a thousand combinations.

The small sister of Stacked MNIST (Metz et al., 2016, arXiv 1611.02163). The beginner's recipe is that of digits.py with
wider networks, and here it ends in the worst collapse there is: the generator draws one and the same picture, whatever
the noise. With --healthy it is a small DCGAN (Radford et al., 2015, arXiv 1511.06434). Among 2,500 real pictures about
918 of the combinations occur, so that is what a perfect generator would show; the script draws them and counts.

    python stacked_digits.py                the collapse
    python stacked_digits.py --healthy      most of the thousand

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
    """Noise [n, latent] to pictures [n, 3, 8, 8] in [-1, 1]."""

    latent = 8

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(self.latent, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, 3 * 64),
            nn.Unflatten(1, (3, 8, 8)),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Draw a picture for each noise vector."""
        pictures: Tensor = self.main(z)
        return pictures


class Discriminator(nn.Module):
    """Pictures [n, 3, 8, 8] to logits [n]: above zero means "real"."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Flatten(),
            nn.Linear(3 * 64, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Judge each picture."""
        logits: Tensor = self.main(x)
        return logits.view(-1)


class ConvGenerator(nn.Module):
    """The DCGAN's: noise [n, latent] to pictures [n, 3, 8, 8] in [-1, 1]."""

    latent = 64

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(self.latent, 96 * 2 * 2),
            nn.Unflatten(1, (96, 2, 2)),
            nn.BatchNorm2d(96),
            nn.ReLU(),
            nn.ConvTranspose2d(96, 48, 4, stride=2, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.ConvTranspose2d(48, 3, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Draw a picture for each noise vector."""
        pictures: Tensor = self.main(z)
        return pictures


class ConvDiscriminator(nn.Module):
    """The DCGAN's: pictures [n, 3, 8, 8] to logits [n]: above zero means "real"."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, 48, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(48, 96, 4, stride=2, padding=1),
            nn.BatchNorm2d(96),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(96 * 2 * 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Judge each picture."""
        logits: Tensor = self.main(x)
        return logits.view(-1)


def stack(images: Tensor, n: int) -> Tensor:
    """Pile up n triples of random digits of images [m, 1, 8, 8], float32 [n, 3, 8, 8]."""
    return images[torch.randint(len(images), (n, 3))].squeeze(2)


def train(steps: int, *, healthy: bool) -> Generator | ConvGenerator:
    """Train for `steps` iterations and return the generator."""
    lr = 2e-4 if healthy else 2e-3
    beta1 = 0.5 if healthy else 0.9

    images, _ = digit_images()
    netG = ConvGenerator() if healthy else Generator()
    netD = ConvDiscriminator() if healthy else Discriminator()
    criterion = nn.BCEWithLogitsLoss()
    optimizerD = torch.optim.Adam(netD.parameters(), lr=lr, betas=(beta1, 0.999))
    optimizerG = torch.optim.Adam(netG.parameters(), lr=lr, betas=(beta1, 0.999))

    for step in range(1, steps + 1):
        # (1) Update D: maximise log(D(x)) + log(1 - D(G(z)))
        netD.zero_grad()
        label = torch.full((BATCH,), 1.0)
        errD_real = criterion(netD(stack(images, BATCH)), label)
        errD_real.backward()
        fake = netG(torch.randn(BATCH, netG.latent))
        label.fill_(0.0)
        errD_fake = criterion(netD(fake.detach()), label)
        errD_fake.backward()
        optimizerD.step()

        # (2) Update G: maximise log(D(G(z)))
        netG.zero_grad()
        label.fill_(1.0)
        errG = criterion(netD(fake), label)
        errG.backward()
        optimizerG.step()

        if step % 250 == 0:
            loss_d = errD_real.item() + errD_fake.item()
            print(f"step {step:5d}  loss of D {loss_d:.3f}  of G {errG.item():.3f}", flush=True)

    return netG


def main() -> None:
    """Read the options, train, and say honestly what the generator has learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2500, help="training iterations (default: %(default)s)")
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
    images, _ = digit_images()
    real = stack(images, 2500)
    reader = DigitReader()
    place = torch.tensor([100, 10, 1])  # a triple of digits is a number from 0 to 999
    result = {
        "modes": len(set((reader.read(samples) * place).sum(dim=1).tolist())),
        "of": 1000,
        "modes_of_real": len(set((reader.read(real) * place).sum(dim=1).tolist())),
        "pixel_std": round((samples.std(dim=0).mean() / real.std(dim=0).mean()).item(), 2),
        "reader_accuracy": reader.accuracy,
    }
    print(f"{result['modes']} combinations among 2,500 samples; as many real pictures show {result['modes_of_real']}")
    print(f"(read by a classifier that is right in {reader.accuracy:.1%} of held-out real digits)")
    report(result, samples, args.out)


if __name__ == "__main__":
    main()
