"""Measures how often data are called different from data, and how often failures are found and named right.

    python tests/benchmarks/alarms.py alarms      each metric by its p, and the reading over all of them
    python tests/benchmarks/alarms.py power       by the reading that `gandiag score` prints

Hours on one core with the defaults; `--n`, `--d` and `--draws` take parts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

sys.path[:0] = [str(Path(__file__).parents[1])]

from references.mixtures import mixture  # noqa: E402

from gandiag.metrics import RealReference, assign, find_modes, mode_table  # noqa: E402
from gandiag.score.reading import judge  # noqa: E402

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def alarms(
    n: str = "500,1000,4000",
    d: str = "2,64,512,2048",
    draws: int = 200,
    spectral: bool = False,
    first: int = 0,
    modes: bool = True,
    law: str = "mixture",
) -> None:
    """How often data are called different from data: each metric by its p, a mode by its p, and the reading over all.

    The data are of 25 modes, or with `--law lognormal` and `--law t3` a cloud with long tails.
    """
    torch.set_num_threads(1)
    titles: tuple[str, ...] = ()
    for rows in map(int, n.split(",")):
        for width in map(int, d.split(",")):
            seen: dict[str, int] = {}
            for draw in range(first, first + draws):
                real, held_out, fake = (LAWS[law](rows, width, seed=3 * draw + part) for part in range(3))
                found = RealReference(real=real, held_out=held_out, spectral=spectral).measure(fake, draws=20)
                for name, measure in found.items():
                    seen[name] = seen.get(name, 0) + (measure.p_value < 0.05)
                fates = table(np.concatenate([real, held_out]), fake) if modes else None
                wrong = fates is not None and min(mode.p_adjusted for mode in fates.modes) < 0.05
                seen["a mode"] = seen.get("a mode", 0) + wrong
                seen["reading"] = seen.get("reading", 0) + bool(judge(found, fates).names)
            if not titles:
                titles = ("n", "d", "draws", *seen)
                show(titles)
            show((rows, width, draws, *(f"{100 * count / draws:.1f} %" for count in seen.values())))


def data(n: int, d: int, *, seed: int, std: float = 0.5, kept: int = 25) -> np.ndarray:
    return mixture(n, d, seed=seed, std=std, kept=kept)[0]


def lognormal(n: int, d: int, *, seed: int) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(size=(n, d))).astype(np.float32)


def t3(n: int, d: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(3, size=(n, d)).astype(np.float32)


LAWS: dict[str, Callable[..., np.ndarray]] = {"mixture": data, "lognormal": lognormal, "t3": t3}


@app.command()
def power(draws: int = 100, modes: bool = True, only: str = "") -> None:
    """How often each failure is found, and named as what it is, by the same reading that `gandiag score` prints."""
    torch.set_num_threads(1)
    show(("failure, d = 64", "n", "draws", "a difference found", "named right", "as"))
    for title, (n, name, make) in FAILURES.items():
        if only not in title:
            continue
        readings = []
        for draw in range(draws):
            real, held_out = (data(n, 64, seed=3 * draw + part) for part in range(2))
            fake = make(n, 3 * draw + 2, real)
            found = RealReference(real=real, held_out=held_out, spectral=False).measure(fake, draws=20)
            readings.append(judge(found, table(np.concatenate([real, held_out]), fake) if modes else None))
        any_name = sum(bool(reading.names) for reading in readings)
        right = sum(bool(reading.names) and reading.names[0].startswith(name) for reading in readings)
        show((title, n, draws, f"{any_name / draws:.1%}", f"{right / draws:.1%}", name))


def table(real: np.ndarray, fake: np.ndarray) -> Any:
    """The fate of each mode, found in all of the data."""
    labels = find_modes(real)
    theirs = assign(real=real, real_labels=labels, fake=fake)
    return mode_table(real=real, real_labels=labels, fake=fake, fake_labels=theirs, source="clusters")


FAILURES: dict[str, tuple[int, str, Callable[[int, int, np.ndarray], np.ndarray]]] = {
    "10 of 25 modes dropped": (500, "modes missing", lambda n, seed, _: data(n, 64, seed=seed, kept=15)),
    "10 of 25 modes at 0.1 %": (3000, "modes missing", lambda n, seed, _: rare(n, seed)),
    "all modes at half their spread": (500, "modes shrunken", lambda n, seed, _: data(n, 64, seed=seed, std=0.25)),
    "one point": (500, "few outputs", lambda n, seed, _: np.repeat(data(1, 64, seed=seed), n, axis=0)),
    "training set copied": (500, "memorised", lambda n, _, real: real[:n]),
}


def rare(n: int, seed: int) -> np.ndarray:
    """Ten modes left with 0.1 % of all samples each."""
    rng = np.random.default_rng(seed)
    shares = np.r_[np.full(15, (1 - 0.01) / 15), np.full(10, 0.001)]
    modes = rng.choice(25, n, p=shares)
    centres = np.random.default_rng(12345).normal(size=(25, 64))
    return (centres[modes] + 0.5 * rng.normal(size=(n, 64))).astype(np.float32)


def show(cells: tuple[object, ...]) -> None:
    """A row of a Markdown table, at once."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    app()
