"""Prints which embedder tells classes, and the lack of one, apart best: the tables of docs/reference/embedders.md.

    python tests/benchmarks/embedders.py                    about four minutes on one core
    python tests/benchmarks/embedders.py digits trap         the tables named

Of each set a fifth is set aside: `pca` learns from it, and nothing is measured on it, for any embedder. The rest is
cut in two, twenty times: one half are the reals, the other one stands for a perfect generator (the null), and without
one class at a time for one that has dropped it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn
from torch.nn import functional as F

from gandiag.demo import digits as digits_demo
from gandiag.demo import stacked_digits as stacked_demo
from gandiag.demo.data import digit_images
from gandiag.embed import Embedder, features_of, fit
from gandiag.metrics import find_modes, prdc

CUTS, NEIGHBOURS = 20, 5
EMBEDDERS = ("identity", "random_projection", "pca", "random_convolution")
Row = tuple[object, ...]


class Data(NamedTuple):
    """Samples [n, ...] and what they show: classes [n], or [n, 3] where each channel shows its own."""

    samples: Tensor
    classes: Tensor


def digits() -> Data:
    """Scikit-learn's digits, 1 x 8 x 8."""
    return Data(*digit_images())


def stacked(n: int = 2500) -> Data:
    """Three of them as the channels of one picture, 3 x 8 x 8, by the demo's own function."""
    images, labels = digit_images()
    torch.manual_seed(0)
    samples = stacked_demo.stack(images, n)
    torch.manual_seed(0)  # the same draw once more, of the labels
    return Data(samples, stacked_demo.stack(labels.view(-1, 1, 1, 1), n).flatten(1))


def moved() -> Data:
    """Digits of 24 x 24 at random places of a canvas, 3 x 32 x 32, in one of three inks: larger than `SMALL`."""
    images, labels = digit_images()
    rng = np.random.default_rng(0)
    large = F.interpolate(images, size=(24, 24), mode="bilinear", align_corners=False)
    canvas = torch.full((len(images), 3, 32, 32), -1.0)
    for index, image in enumerate(large):
        top, left, ink = rng.integers((9, 9, 3))
        canvas[index, ink, top : top + 24, left : left + 24] = image[0]
    return Data(canvas, labels)


def textures(n: int = 1200, side: int = 64) -> Data:
    """Random grain of five directions and two widths, 1 x 64 x 64: nothing of a class is at a certain place."""
    rng = np.random.default_rng(0)
    classes = rng.integers(10, size=n)
    y, x = np.meshgrid(*[np.fft.fftfreq(side) * side] * 2, indexing="ij")
    waves, angle = np.where(classes < 5, 8, 16), classes % 5 * np.pi / 5
    middle_y, middle_x = (waves * part(angle) for part in (np.sin, np.cos))
    grain = np.fft.fft2(rng.standard_normal((n, side, side)))
    for index in range(n):  # what lies near the class's frequency, on either side of the spectrum
        off = [(y - s * middle_y[index]) ** 2 + (x - s * middle_x[index]) ** 2 for s in (-1, 1)]
        grain[index] *= sum(np.exp(-square / 18) for square in off)
    images = np.fft.ifft2(grain).real
    images /= images.std(axis=(1, 2), keepdims=True)
    return Data(torch.from_numpy(images).float()[:, None], torch.from_numpy(classes))


def stripes(n: int = 1200, side: int = 64) -> Data:
    """Stripes of five directions and two widths, anywhere, under three times as much noise, 1 x 64 x 64."""
    rng = np.random.default_rng(0)
    classes = rng.integers(10, size=n)
    angle, waves, place = classes % 5 * np.pi / 5, np.where(classes < 5, 9, 15), rng.uniform(0, 2 * np.pi, n)
    y, x = np.mgrid[:side, :side] / side
    along = np.cos(angle)[:, None, None] * y + np.sin(angle)[:, None, None] * x
    signal = np.cos(2 * np.pi * waves[:, None, None] * along + place[:, None, None])
    images = 0.3 * signal + rng.standard_normal(signal.shape)
    return Data(torch.from_numpy(images).float()[:, None], torch.from_numpy(classes))


SETS: dict[str, Callable[[], Data]] = {
    "digits": digits,
    "stacked": stacked,
    "moved": moved,
    "textures": textures,
    "stripes": stripes,
}


def trained(name: str, steps: int = 1500) -> nn.Module:
    """The discriminator of the healthy demo on a set, trained as the demo trains it."""
    demo = digits_demo if name == "digits" else stacked_demo
    made: list[nn.Module] = []

    class Kept(demo.ConvDiscriminator):  # the demo trains it and keeps it to itself
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    original, demo.ConvDiscriminator = demo.ConvDiscriminator, Kept
    try:
        torch.manual_seed(0)
        with contextlib.redirect_stdout(io.StringIO()):
            demo.train(steps, healthy=True)
    finally:
        demo.ConvDiscriminator = original
    return made[0]


def accuracy(features: Tensor, classes: Tensor) -> float:
    """Share of rows whose class most of their five nearest others have; the nearest decides between equals."""
    x = features.double() - features.double().mean(dim=0)
    distances = torch.cdist(x, x).fill_diagonal_(torch.inf)
    votes = classes[distances.topk(NEIGHBOURS, largest=False).indices]
    counts = F.one_hot(votes, int(classes.max()) + 1).sum(dim=1).double()
    counts[torch.arange(len(x)), votes[:, 0]] += 0.5
    return float((counts.argmax(dim=1) == classes).double().mean())


class Seen(NamedTuple):
    """How coverage answers to a dropped class."""

    null: float
    deviation: float  # of the null, over the cuts
    dropped: float  # over the null
    within: float  # coverage of the reals of the class that was dropped

    @property
    def sensitivity(self) -> float:
        """Standard deviations of the null from it to the value with a class dropped."""
        return self.null * (1 - self.dropped) / self.deviation


def dropping(features: Tensor, classes: Tensor) -> Seen:
    """Drop each of the ten classes in turn."""
    nulls, values, within = [], [], []
    for cut in range(CUTS):
        order = torch.from_numpy(np.random.default_rng(cut).permutation(len(features)))
        real, fake = order.tensor_split(2)
        nulls.append(prdc(real=features[real], fake=features[fake]).coverage)
        for lost in (0, 3, 7) if cut % 4 else range(10):  # all of them in each fourth cut only, to save time
            found = prdc(real=features[real], fake=features[fake[classes[fake] != lost]])
            values.append(found.coverage)
            within.append(float(found.covered[classes[real] == lost].double().mean()))
    null = statistics.mean(nulls)
    return Seen(null, statistics.stdev(nulls), statistics.mean(values) / null, statistics.mean(within))


def table(name: str) -> Iterator[Row]:
    """One row for each embedder."""
    yield "embedder", "d", "5-NN", "ARI", "null (sd)", "over null", "in the class", "sensitivity", "took"
    data = SETS[name]()
    spent = fit(data.samples, embedder="pca").spent
    kept = torch.ones(len(data.samples), dtype=torch.bool).index_fill_(0, spent, False)
    classes = data.classes[kept]
    asked: dict[str, str | Embedder] = {embedder: embedder for embedder in EMBEDDERS}
    if name in ("digits", "stacked"):
        asked["features of a trained D"] = features_of(trained(name))
    for label, embedder in asked.items():
        start = time.perf_counter()
        features = fit(data.samples, embedder=embedder)(data.samples[kept])
        first = classes if classes.ndim == 1 else classes[:, 0]
        told = statistics.mean(accuracy(features, c) for c in classes.reshape(len(classes), -1).T)
        seen = dropping(features, first)
        modes = f"{adjusted_rand_score(classes, find_modes(features)):.2f}" if classes.ndim == 1 else "-"
        yield (
            *(f"`{label}`", features.shape[1], f"{told:.3f}", modes, f"{seen.null:.3f} ({seen.deviation:.3f})"),
            *(f"{seen.dropped:.3f}", f"{seen.within:.2f}", f"{seen.sensitivity:.1f}"),
            f"{time.perf_counter() - start:.0f} s",
        )


def artefacts() -> Iterator[Row]:
    """Precision of the moved digits under a faint checkerboard, as transposed convolutions leave one."""
    yield "embedder", "precision, null", "precision"
    samples = moved().samples
    y, x = np.mgrid[:32, :32]
    board = 0.2 * torch.from_numpy((-1.0) ** (x + y)).float()
    for name in EMBEDDERS:
        embedding = fit(samples, embedder=name)
        kept = torch.ones(len(samples), dtype=torch.bool).index_fill_(0, fit(samples, embedder="pca").spent, False)
        real, rest = samples[kept].tensor_split(2)
        reals, null, fake = (embedding(part) for part in (real, rest, rest + board))
        values = (prdc(real=reals, fake=rows).precision for rows in (null, fake))
        yield f"`{name}`", *(f"{value:.3f}" for value in values)


def trap(n: int = 3000, d: int = 512, draws: int = 5) -> Iterator[Row]:
    """Density and recall of fakes that are as good as the data, in components of all the rows and of set-aside ones."""
    yield "components from", "density, null", "density", "recall, null", "recall"
    centres = np.random.default_rng(0).standard_normal((25, d))
    found: dict[str, list[list[float]]] = {}
    for draw in range(draws):
        rng = np.random.default_rng(draw + 1)
        x = torch.from_numpy(centres[rng.integers(25, size=2 * n)] + 0.5 * rng.standard_normal((2 * n, d))).float()
        real, fake = x.split(n)
        embedding = fit(real, embedder="pca")
        mean = real.mean(dim=0)
        components = torch.linalg.svd(real - mean, full_matrices=False).Vh[:64]
        kept = torch.ones(n, dtype=torch.bool).index_fill_(0, embedding.spent, False)
        for name, reals, fakes in (
            ("no components", real, fake),
            ("all reals", (real - mean) @ components.T, (fake - mean) @ components.T),
            ("a fifth, measured too", embedding(real), embedding(fake)),
            ("a fifth, left out", embedding(real)[kept], embedding(fake)),
        ):
            half, rest = reals.tensor_split(2)
            null, value = prdc(real=half, fake=rest), prdc(real=half, fake=fakes[: len(rest)])
            found.setdefault(name, []).append([null.density, value.density, null.recall, value.recall])
    for name, values in found.items():
        yield name, *(f"{value:.3f}" for value in np.mean(values, axis=0))


def show(rows: Iterator[Row]) -> None:
    """Print rows as a Markdown table, each as it is found."""
    for number, row in enumerate(rows):
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
        if number == 0:
            print("|" + "---|" * len(row), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = {**{name: partial(table, name) for name in SETS}, "artefacts": artefacts, "trap": trap}
    parser.add_argument("tables", nargs="*", help=f"some of {', '.join(tables)}; by default all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.tables or tables:
        print(f"\n{name}\n", flush=True)
        show(tables[name]())


if __name__ == "__main__":
    main()
