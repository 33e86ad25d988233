"""Measures how well modes are found without labels, and how often one that is gone is named.

    python tests/benchmarks/modes.py found        adjusted Rand index and number of modes, beside the true ones
    python tests/benchmarks/modes.py dropped      digits of which one class is never generated, n = 1,000

"Named" means that the mode table calls a mode missing whose rows are mostly of the class that was left out: a person
who looks at its exemplars sees that digit.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import typer
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

sys.path[:0] = [str(Path(__file__).parents[1])]

from references.mixtures import grid, mixture, ring  # noqa: E402

import gandiag  # noqa: E402
from gandiag.metrics import find_modes  # noqa: E402

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Labelled = tuple[np.ndarray, np.ndarray]


def digits(n: int, seed: int) -> Labelled:
    """A random part of the digits, as they are: 64 grey levels."""
    x, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))[:n]
    return x[order].astype(np.float32), classes[order]


SETS: dict[str, tuple[int, int, Callable[[int, int], Labelled]]] = {
    "digits": (1797, 10, digits),
    "digits, a part": (1500, 10, digits),
    "digits, a smaller part": (1000, 10, digits),
    "ring": (1000, 8, lambda n, seed: ring(n, seed=seed)),
    "grid": (1000, 25, lambda n, seed: grid(n, seed=seed)),
    "mixture, d = 64": (1000, 25, lambda n, seed: mixture(n, 64, seed=seed)),
    "mixture, d = 512": (1000, 25, lambda n, seed: mixture(n, 512, seed=seed)),
}


@app.command()
def found(draws: int = 10) -> None:
    """How many modes are found, and how well they agree with the true ones."""
    torch.set_num_threads(1)
    show(("data", "n", "true modes", "draws", "modes found", "adjusted Rand index, median (range)"))
    for title, (n, true, make) in SETS.items():
        several = draws if n < 1797 else 1  # of all digits there is only one set
        counts, agreements = [], []
        for seed in range(several):
            rows, labels = make(n, seed)
            modes = find_modes(rows)
            counts.append(int(modes.max()) + 1)
            agreements.append(adjusted_rand_score(labels, modes))
        middle, low, high = statistics.median(agreements), min(agreements), max(agreements)
        numbers = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)}–{max(counts)}"
        show((title, n, true, several, numbers, f"{middle:.3f} ({low:.3f}–{high:.3f})"))


@app.command()
def dropped(draws: int = 10, first: int = 0) -> None:
    """How often `gandiag.score` names the class that was left out, and how often another one."""
    torch.set_num_threads(1)
    show(("class", "draws", "named in the mode table", "the reading says 'modes missing'", "other classes named"))
    total = np.zeros(3, dtype=int)
    for digit in range(10):
        counts = np.zeros(3, dtype=int)
        for seed in range(first, first + draws):
            real, classes, fake = without(digit, seed=seed)
            scores = gandiag.score(real=real, fake=fake, embedder="identity")
            missing = [mode for mode in scores.modes.modes if mode.state == "missing"] if scores.modes else []
            named = [int(np.bincount(classes[list(mode.real_indices)]).argmax()) for mode in missing]
            reading = any(name.startswith("modes missing") for name in scores.reading.names)
            counts += digit in named, reading, any(other != digit for other in named)
        total += counts
        show((digit, draws, *(f"{count / draws:.0%}" for count in counts)))
    show(("all", 10 * draws, *(f"{count / draws / 10:.1%}" for count in total)))


def without(digit: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A thousand digits and their classes; a thousand fakes without one class.

    The fakes are the other 797 images less that class, and as many of these again, each moved by noise of half a grey
    level of sixteen, as it takes.
    """
    x, classes = load_digits(return_X_y=True)
    rng = np.random.default_rng([digit, seed])
    order = rng.permutation(len(x))
    real, rest = order[:1000], order[1000:]
    rest = rest[classes[rest] != digit]
    again = rng.choice(rest, 1000 - len(rest))
    fake = np.r_[x[rest], x[again] + rng.normal(scale=0.5, size=(len(again), 64))]
    return x[real].astype(np.float32), classes[real], fake.astype(np.float32)


def show(cells: tuple[object, ...]) -> None:
    """A row of a Markdown table, at once."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    app()
