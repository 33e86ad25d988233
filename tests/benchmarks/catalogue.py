"""Measures what each technique does to scripts that collapse, and what it costs.

    python tests/benchmarks/catalogue.py effect FILE           five seeds of each demo under each technique
    python tests/benchmarks/catalogue.py table FILE...         the same as Markdown, the plain run first
    python tests/benchmarks/catalogue.py cost                  time of a step over the plain one's, on the demos
    python tests/benchmarks/catalogue.py cost --demos digits:healthy,digits:relu --only norm      ... with other nets
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
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

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
PLAIN, WATCHED = "plain", "watched without techniques"
SEEDS = 5


def train(demo: str, technique: str, *, seed: int, steps: int) -> torch.nn.Module:
    """One of the demos' own training loops, watched from outside with one technique, or with none.

    "digits:healthy" is that demo with its other nets, "digits:relu" with activations in D that can die.
    """
    name, _, nets = demo.partition(":")
    module = importlib.import_module(f"gandiag.demo.{name}")
    torch.manual_seed(seed)
    with contextlib.ExitStack() as stack:
        if nets == "relu":
            stack.enter_context(mock.patch.object(module, "ConvDiscriminator", with_relu(module.ConvDiscriminator)))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if technique != PLAIN:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            on = [] if technique == WATCHED else [technique]
            unrecorded(
                stack.enter_context(gandiag.watch(None, None, run_dir=folder / "run", techniques=on, strict=True))
            )
        made: torch.nn.Module = module.train(steps, healthy=bool(nets))
        return made


def with_relu(make: Callable[[], Any]) -> Callable[[], Any]:
    """The same net with ReLU in place of its leaky ones."""

    def made() -> Any:
        net = make()
        for number, layer in enumerate(net.model):
            if isinstance(layer, torch.nn.LeakyReLU):
                net.model[number] = torch.nn.ReLU()
        return net

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
def effect(out: Path, demos: str = "ring,grid,digits,stacked_digits", seeds: int = SEEDS, only: str = "") -> None:
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
def table(paths: list[Path]) -> None:
    """A row for each technique, medians over seeds; the plain run first, then by the mean share of modes."""
    lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    demos = [demo for demo in STEPS if any(line["demo"] == demo for line in lines)]
    rows = {}
    for technique in dict.fromkeys(line["technique"] for line in lines):
        mine = [[line for line in lines if (line["demo"], line["technique"]) == (demo, technique)] for demo in demos]
        shares = [statistics.median(line["modes"] / line["of"] for line in seeds) for seeds in mine if whole(seeds)]
        rows[technique] = (statistics.mean(shares) if shares else -1.0, mine)
    show(("technique", *demos))
    show(["---"] * (1 + len(demos)))
    for name in sorted(rows, key=lambda name: (name != PLAIN, -rows[name][0])):
        show((f"`{name}`" if name != PLAIN else name, *map(cell, rows[name][1])))
    for demo in demos:
        null = statistics.median(line["null"] for line in lines if line["demo"] == demo and "null" in line)
        seeds = sorted({sum(whole([line]) for line in s) for _, mine in rows.values() for s in mine if whole(s)})
        print(f"{demo}: coverage of held-out data {null:.2f}; seeds {seeds[0]} to {seeds[-1]}")
    for reason, names in sorted(refusals(lines).items()):
        print(f"refused: {', '.join(sorted(names))}: {reason}")


def whole(seeds: list[dict[str, Any]]) -> bool:
    """Whether there are trainings, and none was refused."""
    return bool(seeds) and not any("refused" in line for line in seeds)


def cell(seeds: list[dict[str, Any]]) -> str:
    """Modes, their range, share of samples inside a mode, reverse KL, coverage; of n seeds where they are not five."""
    if not whole(seeds):
        return "refused" if seeds else ""
    modes = sorted(line["modes"] for line in seeds)
    kl = statistics.median(line["reverse_kl"] if line["modes"] else math.inf for line in seeds)
    parts = [f"**{statistics.median(modes):g}** ({modes[0]}–{modes[-1]})"]
    if not math.isnan(seeds[0]["high_quality"]):
        parts.append(f"{statistics.median(line['high_quality'] for line in seeds):.2f}")
    parts += [f"{kl:.2f}", f"{statistics.median(line['coverage'] for line in seeds):.2f}"]
    return " / ".join(parts) + (f" [{len(seeds)}]" if len(seeds) != SEEDS else "")


def refusals(lines: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Techniques and demos by the sentence that they were refused with, its own name taken out."""
    found: dict[str, set[str]] = {}
    for line in lines:
        if "refused" in line:
            reason = line["refused"].replace(line["technique"], "it")
            found.setdefault(reason, set()).add(f"{line['technique']} ({line['demo']})")
    return found


# -- cost ----------------------------------------------------------------------------------------------------


@app.command()
def cost(demos: str = "ring,digits", steps: int = 200, rounds: int = 5, only: str = "") -> None:
    """Ratio of a step's time to the plain one's in the same round: median and range.

    Of a short and of a longer training the difference is taken, so that what comes before the loop does not count.
    """
    torch.set_num_threads(1)
    show(("technique", *(f"x of a plain step ({demo})" for demo in demos.split(","))))
    for technique in [WATCHED, *TECHNIQUES.names()]:
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
    "non_saturating": ("non_saturating", {}),
    "wgan": ("wgan", {"c": 0.01}),
    "lsgan": ("lsgan", {"a": 0.0, "b": 1.0, "c": 1.0}),
    "rpgan_r1_r2": ("rpgan_r1_r2:gamma=0.5", {"gamma": 0.5}),
}


@app.command()
def hand(rounds: int = 7, width: int = 256, rows: int = 128, steps: int = 300, only: str = "") -> None:
    """Under gandiag and written in by hand, each over the plain loop, in turn; the tests' loop with wider nets."""
    loops = importlib.import_module("helpers.gan_loops")
    torch.set_num_threads(1)
    loops.WIDTH = width
    show(("technique", "under gandiag", "by hand", "one over the other"))
    for name, (text, settings) in BY_HAND.items():
        if only not in name:
            continue
        by_hand = importlib.import_module(f"techniques.test_{name}").ByHand

        def run(technique: str, steps: int, text: str = text, by_hand: Any = by_hand, settings: Any = settings) -> None:
            script = loops.script(d=lambda: loops.D(sigmoid=True), data=lambda: loops.ring(rows=rows, steps=steps))
            with tempfile.TemporaryDirectory() as folder:
                if technique == "gandiag":
                    loops.watched(loops.dcgan, script, [text], Path(folder))
                else:
                    loops.train(loops.dcgan, script, by_hand(**settings) if technique == "hand" else None)

        seconds = [{how: taken(run, steps, how) for how in (PLAIN, "hand", "gandiag")} for _ in range(rounds + 1)][1:]
        cells = []
        for one, other in (("gandiag", PLAIN), ("hand", PLAIN), ("gandiag", "hand")):
            found = sorted(s[one] / s[other] for s in seconds)
            cells.append(f"{statistics.median(found):.2f} ({found[0]:.2f}–{found[-1]:.2f})")
        show((name, *cells))


def show(cells: Iterable[object]) -> None:
    """A row of a Markdown table, at once."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    app()
