"""Measures what each technique does to scripts that collapse, and what it costs.

    python tests/benchmarks/catalogue.py effect FILE           five seeds of each demo under each technique
    python tests/benchmarks/catalogue.py table FILE            the same as Markdown, the plain run first
    python tests/benchmarks/catalogue.py cost                  time of a step over the plain one's, on the demos
    python tests/benchmarks/catalogue.py hand                  the same beside loops with the technique written in

`effect` takes hours. It appends one line of JSON for each training to FILE and goes on where it was stopped. Every
technique is there with its defaults, refused ones with their reason: nothing is picked, and nothing tuned.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import typer

sys.path[:0] = [str(Path(__file__).parents[1])]

from helpers.unrecorded import unrecorded  # noqa: E402

import gandiag  # noqa: E402
from gandiag.demo import data  # noqa: E402
from gandiag.demo.data import DigitReader, count_modes, digit_images, grid_modes, ring_modes, sample_mixture  # noqa: E402
from gandiag.demo.stacked_digits import stack  # noqa: E402
from gandiag.errors import TechniqueRefused  # noqa: E402
from gandiag.metrics import prdc  # noqa: E402
from gandiag.techniques import TECHNIQUES  # noqa: E402

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SAMPLES = 2500
#: Shorter than the demos' own: by then the plain runs have collapsed on all seeds, and hours become fewer.
STEPS = {"ring": 2000, "grid": 3000, "digits": 1500, "stacked_digits": 1000}
PLAIN = "plain"


def train(demo: str, technique: str, *, seed: int, steps: int) -> torch.nn.Module:
    """One of the demos' own training loops, watched from outside with one technique, or with none."""
    module = importlib.import_module(f"gandiag.demo.{demo}")
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        if technique == PLAIN:
            made: torch.nn.Module = module.train(steps, healthy=False)
            return made
        with gandiag.watch(None, None, run_dir=Path(folder) / "run", techniques=[technique], strict=True) as run:
            unrecorded(run)
            made = module.train(steps, healthy=False)
            return made


# -- effect --------------------------------------------------------------------------------------------------


def judged(demo: str, generator: torch.nn.Module) -> dict[str, float]:
    """What a generator has learned, of samples made in train mode as the demos make them."""
    torch.manual_seed(1234)
    latent = getattr(generator, "latent", 2)
    with torch.no_grad():
        samples = generator(torch.randn(SAMPLES, latent)).flatten(1)
    if demo == "digits":
        shares = reader().read(samples.nan_to_num().reshape(SAMPLES, 1, 8, 8)).bincount(minlength=10) / SAMPLES
        found = {"modes": int((shares > 0.01).sum()), "of": 10}
        images = digit_images()[0].flatten(1)
        real, held_out = images[::2], images[1::2]
        samples = samples[: len(real)]
    elif demo == "stacked_digits":
        place = torch.tensor([100, 10, 1])
        digits = reader().read(samples.nan_to_num().reshape(SAMPLES, 3, 8, 8))
        shares = (digits * place).sum(dim=1).bincount(minlength=1000) / SAMPLES
        found = {"modes": int((shares > 0).sum()), "of": 1000}
        images, _ = digit_images()
        real, held_out = (stack(images[part::2], SAMPLES).flatten(1) for part in range(2))
    else:
        modes, std = (ring_modes(), data.RING_STD) if demo == "ring" else (grid_modes(), data.GRID_STD)
        found = count_modes(samples, modes, std)
        distance, nearest = torch.cdist(samples, modes).min(dim=1)
        shares = torch.bincount(nearest[distance < 3 * std], minlength=len(modes)) / SAMPLES
        real, held_out = (sample_mixture(modes, std, SAMPLES) for _ in range(2))
    shares = shares / shares.sum().clamp_min(1e-12)
    reverse_kl = float((shares * (shares.clamp_min(1e-12) * len(shares)).log()).sum())
    finite = bool(samples.isfinite().all())
    return {
        "modes": found["modes"],
        "of": found["of"],
        "high_quality": found.get("high_quality", float("nan")),
        "reverse_kl": reverse_kl,
        "coverage": prdc(real=real, fake=samples).coverage if finite else 0.0,
        "null": prdc(real=real, fake=held_out).coverage,
    }


@functools.cache
def reader() -> DigitReader:
    return DigitReader()


@app.command()
def effect(out: Path, demos: str = "ring,grid,digits,stacked_digits", seeds: int = 5, only: str = "") -> None:
    """Train each demo under each technique; what FILE has already is not trained again."""
    torch.set_num_threads(1)
    lines = out.read_text().splitlines() if out.exists() else []
    done = {(line["demo"], line["technique"], line["seed"]) for line in map(json.loads, lines)}
    for seed in range(seeds):
        for demo in demos.split(","):
            for technique in [PLAIN, *TECHNIQUES.names()]:
                if (demo, technique, seed) in done or only not in technique:
                    continue
                line: dict[str, Any] = {"demo": demo, "technique": technique, "seed": seed}
                try:
                    line |= judged(demo, train(demo, technique, seed=seed, steps=STEPS[demo]))
                except TechniqueRefused as error:
                    line["refused"] = str(error)
                with out.open("a") as file:
                    print(json.dumps(line), file=file)


@app.command()
def table(path: Path) -> None:
    """Medians over seeds, ranges of the modes; sorted by modes and then coverage, the plain run first."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for demo in dict.fromkeys(line["demo"] for line in lines):
        show(("technique", "seeds", f"modes ({demo})", "in a mode", "reverse KL", "coverage", "null"))
        rows = {}
        for technique in dict.fromkeys(line["technique"] for line in lines):
            mine = [line for line in lines if (line["demo"], line["technique"]) == (demo, technique)]
            if mine and "refused" not in mine[0]:
                rows[technique] = (mine, {key: statistics.median(line[key] for line in mine) for key in FIELDS})
        best = sorted(rows, key=lambda name: (name != PLAIN, -rows[name][1]["modes"], -rows[name][1]["coverage"]))
        for name in best:
            mine, middle = rows[name]
            low, high = (pick(line["modes"] for line in mine) for pick in (min, max))
            modes = f"{middle['modes']:g} ({low}–{high}) of {mine[0]['of']}"
            inside = f"{middle['high_quality']:.2f}" if "digits" not in demo else ""
            rest = (f"{middle[key]:.2f}" for key in ("reverse_kl", "coverage", "null"))
            show((name, len(mine), modes, inside, *rest))
        refused = [line for line in lines if line["demo"] == demo and "refused" in line and line["seed"] == 0]
        for line in refused:
            print(f"\nrefused: {line['technique']}: {line['refused']}")
        print()


FIELDS = ("modes", "high_quality", "reverse_kl", "coverage", "null")


# -- cost ----------------------------------------------------------------------------------------------------


@app.command()
def cost(demos: str = "ring,digits", steps: int = 200, rounds: int = 5, only: str = "") -> None:
    """Ratio of a step's time to the plain one's in the same round: median and range.

    Of a short and of a longer training the difference is taken, so that what comes before the loop does not count.
    """
    torch.set_num_threads(1)
    show(("technique", *(f"x of a plain step ({demo})" for demo in demos.split(","))))
    for technique in TECHNIQUES.names():
        if only in technique:
            cells = []
            for demo in demos.split(","):
                try:
                    cells.append(ratios(functools.partial(train, demo, seed=0), steps, technique, rounds))
                except TechniqueRefused:
                    cells.append("refused")
            show((technique, *cells))


SHORT = 20


def ratios(run: Callable[..., object], steps: int, technique: str, rounds: int) -> str:
    for name in (PLAIN, technique):
        run(technique=name, steps=SHORT)
    found = sorted(taken(run, steps, technique) / taken(run, steps, PLAIN) for _ in range(rounds))
    return f"{statistics.median(found):.2f} ({found[0]:.2f}–{found[-1]:.2f})"


def taken(run: Callable[..., object], steps: int, technique: str) -> float:
    """Seconds of `steps` steps."""
    start = time.perf_counter()
    run(technique=technique, steps=SHORT)
    middle = time.perf_counter()
    run(technique=technique, steps=SHORT + steps)
    return (time.perf_counter() - middle) - (middle - start)


#: What a person writes into the loop, from the tests that prove equality; additive terms, inputs, and takeovers.
BY_HAND: dict[str, tuple[str, dict[str, Any]]] = {
    "r1": ("r1:gamma=0.5", {"gamma": 0.5}),
    "r2": ("r2:gamma=0.5", {"gamma": 0.5}),
    "instance_noise": ("instance_noise", {"std": 0.1}),
    "feature_matching": ("feature_matching", {"weight": 1.0}),
    "label_smoothing": ("label_smoothing", {}),
    "hinge": ("hinge", {}),
    "lsgan": ("lsgan", {"a": 0.0, "b": 1.0, "c": 1.0}),
    "rpgan_r1_r2": ("rpgan_r1_r2:gamma=0.5", {"gamma": 0.5}),
}


@app.command()
def hand(rounds: int = 7, width: int = 256, rows: int = 128, steps: int = 60, only: str = "") -> None:
    """Under gandiag and written in by hand, each over the plain loop, in turn; the tests' loop with wider nets."""
    loops = importlib.import_module("helpers.gan_loops")
    torch.set_num_threads(1)
    loops.WIDTH = width
    show(("technique", "under gandiag", "by hand", "one over the other"))
    for name, (technique, settings) in BY_HAND.items():
        if only not in name:
            continue
        by_hand = importlib.import_module(f"techniques.test_{name}").ByHand

        def run(how: str, technique: str = technique, by_hand: Any = by_hand, settings: Any = settings) -> float:
            script = loops.script(d=lambda: loops.D(sigmoid=True), data=lambda: loops.ring(rows=rows, steps=steps))
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                if how == "gandiag":
                    loops.watched(loops.dcgan, script, [technique], Path(folder))
                else:
                    loops.train(loops.dcgan, script, by_hand(**settings) if how == "hand" else None)
                return time.perf_counter() - start

        seconds = [{how: run(how) for how in ("plain", "hand", "gandiag")} for _ in range(rounds + 1)][1:]
        cells = []
        for one, other in (("gandiag", "plain"), ("hand", "plain"), ("gandiag", "hand")):
            found = sorted(s[one] / s[other] for s in seconds)
            cells.append(f"{statistics.median(found):.2f} ({found[0]:.2f}–{found[-1]:.2f})")
        show((name, *cells))


def show(cells: tuple[object, ...]) -> None:
    """A row of a Markdown table, at once."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    app()
