"""The demos' data, and the honest way to count what a generator has learned of them.

The two mixtures have modes that we know, so their coverage needs no estimate: a sample belongs to a mode when it
lies within three standard deviations of the mode's centre (Lin et al., PacGAN, 2018, arXiv 1712.04086). On the
digits a small classifier says what each sample shows.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

RING_STD = 0.1
GRID_STD = 0.125


def ring_modes(radius: float = 5.0) -> Tensor:
    """Centres of eight modes on a circle, float32 [8, 2].

    The angles are counted, not taken from `linspace(0, 2π, 8)`: that includes both ends, which are one point,
    and leaves seven modes of which one has double weight.
    """
    angles = 2 * math.pi * torch.arange(8) / 8
    return radius * torch.stack([angles.cos(), angles.sin()], dim=1)


def grid_modes(spacing: float = 2.5) -> Tensor:
    """Centres of twenty-five modes on a square grid around the origin, float32 [25, 2]."""
    ticks = spacing * torch.arange(-2.0, 3.0)
    return torch.cartesian_prod(ticks, ticks)


def sample_mixture(modes: Tensor, std: float, n: int) -> Tensor:
    """Draw n points of the mixture of equally likely Gaussians at `modes`, float32 [n, 2]."""
    return modes[torch.randint(len(modes), (n,))] + std * torch.randn(n, 2)


def count_modes(samples: Tensor, modes: Tensor, std: float) -> dict[str, Any]:
    """Count the modes that `samples` reach, by the rule of three standard deviations.

    Args:
        samples: generated points, float32 [n, 2].
        modes: the true centres, float32 [k, 2].
        std: the true standard deviation of every mode along each axis.

    Returns:
        `modes`: how many have at least one sample; `of`: k; `high_quality`: share of samples inside any mode
        (0.989 for the data themselves: 1 - exp(-9/2)); `smallest` and `largest`: the emptiest and the fullest
        mode's samples over the fair share n / k; `spread`: the narrowest reached mode's standard deviation over
        the data's, among modes with at least ten samples (0.95 for the data: the rule cuts their tails off).
    """
    distance, nearest = torch.cdist(samples, modes).min(dim=1)
    inside = distance < 3 * std
    counts = torch.bincount(nearest[inside], minlength=len(modes))
    spreads = [
        samples[inside & (nearest == mode)].std(dim=0).mean().item() / std
        for mode in range(len(modes))
        if counts[mode] >= 10
    ]
    fair = len(samples) / len(modes)
    return {
        "modes": int((counts > 0).sum()),
        "of": len(modes),
        "high_quality": round(inside.float().mean().item(), 3),
        "smallest": round(counts.min().item() / fair, 2),
        "largest": round(counts.max().item() / fair, 2),
        "spread": round(min(spreads, default=0.0), 2),
    }


def digit_images() -> tuple[Tensor, Tensor]:
    """Scikit-learn's 1,797 handwritten digits: float32 [1797, 1, 8, 8] in [-1, 1], and their labels, int64 [1797]."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images).float() / 8 - 1  # the data set counts ink from 0 to 16
    return pixels.reshape(-1, 1, 8, 8), torch.from_numpy(labels)


class DigitReader:
    """A support vector classifier that reads 8x8 digits; it judges the generator and never trains it.

    Attributes:
        accuracy: share of 500 held-out real digits that it reads right.
    """

    def __init__(self) -> None:
        from sklearn.svm import SVC

        images, labels = digit_images()
        order = np.random.default_rng(0).permutation(len(images))
        train, held_out = order[:-500], order[-500:]
        x, y = images.flatten(1).numpy(), labels.numpy()
        self.classifier = SVC(C=10).fit(x[train], y[train])
        self.accuracy = round(float(self.classifier.score(x[held_out], y[held_out])), 3)

    def read(self, images: Tensor) -> Tensor:
        """Classes 0..9 that the classifier sees in images [n, ..., 8, 8], int64 [n, ...] (one axis dropped if 1)."""
        flat = images.reshape(-1, 64).numpy()
        return torch.from_numpy(self.classifier.predict(flat)).reshape(images.shape[:-2]).squeeze(1)


def report(result: dict[str, Any], samples: Tensor, out: Path | None) -> None:
    """Print the evaluation as one line of JSON; with `out`, leave it and the samples in that folder too."""
    line = json.dumps(result)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        np.save(out / "samples.npy", samples.numpy(), allow_pickle=False)
        (out / "evaluation.json").write_text(line + "\n", encoding="utf-8")
    print(line)
