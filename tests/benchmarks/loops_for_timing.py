"""Plain training loops, one iteration a call, for timing what watching costs."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

Loop = tuple[nn.Sequential, nn.Sequential, Callable[[], None]]


def ring() -> Loop:
    """Eight points on a circle, MLPs of 2x128, batch 128."""
    generator = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    discriminator = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))
    angles = torch.arange(8) * torch.pi / 4
    real = torch.stack([angles.cos(), angles.sin()], dim=1).repeat(16, 1)
    return generator, discriminator, step_of(generator, discriminator, real, latent=2)


def digits() -> Loop:
    """Images of 8x8, convolutions with 32 and 64 channels and batch norm, batch 64."""
    generator = nn.Sequential(
        *(nn.Linear(32, 64 * 4), nn.Unflatten(1, (64, 2, 2)), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(32, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.2)),
        *(nn.Flatten(), nn.Linear(64 * 4, 1)),
    )
    return generator, discriminator, step_of(generator, discriminator, torch.rand(64, 1, 8, 8), latent=32)


def dcgan64() -> Loop:
    """The DCGAN of Radford et al. (2015, arXiv 1511.06434) for 64x64 pictures in colour, batch 64."""
    channels = [512, 256, 128, 64]
    layers: list[nn.Module] = [nn.Unflatten(1, (100, 1, 1)), nn.ConvTranspose2d(100, 512, 4, 1, 0, bias=False)]
    for before, after in itertools.pairwise(channels):
        layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
    layers += [nn.BatchNorm2d(64), nn.ReLU(), nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh()]
    generator = nn.Sequential(*layers)
    layers = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for after, before in zip(channels[-2::-1], channels[:0:-1], strict=True):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    discriminator = nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 0, bias=False), nn.Flatten())
    return generator, discriminator, step_of(generator, discriminator, torch.rand(64, 3, 64, 64) * 2 - 1, latent=100)


def large256() -> Loop:
    """Convolutional nets of StyleGAN2's widths (Karras et al. 2020, arXiv 1912.04958) at 256x256, batch 8; for a GPU.

    23 million parameters each, without its styles, noise and normalisation.
    """
    widths = [512, 512, 512, 512, 256, 128, 64]  # from 4x4 to 256x256
    layers: list[nn.Module] = [nn.Linear(512, 512 * 16), nn.Unflatten(1, (512, 4, 4))]
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, before, 3, 1, 1), nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2)]
        layers += [nn.Conv2d(before, after, 3, 1, 1), nn.LeakyReLU(0.2)]
    generator = nn.Sequential(*layers, nn.Conv2d(64, 3, 1))
    layers = [nn.Conv2d(3, 64, 1), nn.LeakyReLU(0.2)]
    for after, before in zip(widths[-2::-1], widths[:0:-1], strict=True):
        layers += [nn.Conv2d(before, before, 3, 1, 1), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.LeakyReLU(0.2)]
    head = [nn.Conv2d(512, 512, 3, 1, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(512 * 16, 512), nn.LeakyReLU(0.2)]
    discriminator = nn.Sequential(*layers, *head, nn.Linear(512, 1))
    return generator, discriminator, step_of(generator, discriminator, torch.rand(8, 3, 256, 256) * 2 - 1, latent=512)


def step_of(generator: nn.Module, discriminator: nn.Module, real: Tensor, *, latent: int) -> Callable[[], None]:
    """One D step and one G step with the non-saturating loss."""
    optimizers = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (generator, discriminator)]
    loss = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)

    def step() -> None:
        fake = generator(torch.randn(len(real), latent))
        optimizers[1].zero_grad()
        (loss(discriminator(real), ones) + loss(discriminator(fake.detach()), zeros)).backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        loss(discriminator(fake), ones).backward()
        optimizers[0].step()

    return step


LOOPS = {"ring, MLP 2x128, batch 128": ring, "digits, DCGAN, batch 64": digits}
