"""What watching costs: whole training runs in alternation, beside what else people log with.

    python tests/benchmarks/overhead.py                    both loops, seven rounds each
    python tests/benchmarks/overhead.py mlp --rounds 3     one of them, quicker
    python tests/benchmarks/overhead.py large --device cuda

Prints a Markdown table of ratios to the same training with nothing beside it. wandb and TensorBoard are measured where
they can be imported. One round trains once in each way, in an order that changes from round to round; what is given
is the median over rounds of the ratio within one round, and its range.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import loops_for_timing
import torch
from torch import nn

import gandiag

#: Of each loop: how it is built, and its iterations. A run takes ten seconds or more.
RUNS = {
    "mlp": (loops_for_timing.ring, 10000),
    "dcgan": (loops_for_timing.dcgan64, 40),
    "large": (loops_for_timing.large256, 500),
}
Beside = Callable[[nn.Module, nn.Module, Path], "tuple[AbstractContextManager[Any], Callable[[], None]]"]


def nothing(generator: nn.Module, discriminator: nn.Module, folder: Path) -> Any:
    """The training alone."""
    return nullcontext(), lambda: None


def watched(generator: nn.Module, discriminator: nn.Module, folder: Path) -> Any:
    """`gandiag.watch` with its defaults: opened, and closed with its last snapshot, within what is timed."""
    return gandiag.watch(generator, discriminator, run_dir=folder / "run"), lambda: None


def naive(generator: nn.Module, discriminator: nn.Module, folder: Path) -> Any:
    """`.norm().item()` of every parameter's gradient, once an iteration."""
    log: list[list[float]] = []

    def after() -> None:
        nets = (generator, discriminator)
        log.append([p.grad.norm().item() for net in nets for p in net.parameters() if p.grad is not None])

    return nullcontext(), after


def tensorboard(generator: nn.Module, discriminator: nn.Module, folder: Path) -> Any:
    """Four scalars of TensorBoard an iteration: the total gradient norm and the largest weight of both nets."""
    from torch.utils.tensorboard import SummaryWriter  # type: ignore[attr-defined]

    writer = SummaryWriter(str(folder / "board"))
    count = 0

    def after() -> None:
        nonlocal count
        for name, net in (("g", generator), ("d", discriminator)):
            norms = [p.grad.norm() for p in net.parameters() if p.grad is not None]
            writer.add_scalar(f"grad/{name}", torch.stack(norms).norm().item(), count)
            writer.add_scalar(f"weight/{name}", max(float(p.detach().abs().max()) for p in net.parameters()), count)
        count += 1

    return writer, after


def wandb(generator: nn.Module, discriminator: nn.Module, folder: Path) -> Any:
    """`wandb.watch(log="gradients", log_freq=1)` on both nets, offline, and one `log` an iteration."""
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_DIR=str(folder))
    import wandb

    run = wandb.init(project="overhead", dir=str(folder), mode="offline")
    run.watch((generator, discriminator), log="gradients", log_freq=1)
    count = 0

    def after() -> None:
        nonlocal count
        run.log({"iteration": count})
        count += 1

    return run, after


WAYS: dict[str, Beside] = {
    "nothing": nothing,
    "gandiag.watch": watched,
    "every gradient's `.norm().item()`": naive,
    "TensorBoard, 4 scalars": tensorboard,
    "wandb.watch, gradients": wandb,
}


def seconds(loop: str, way: Beside, iterations: int) -> float:
    """One whole training."""
    torch.manual_seed(0)
    generator, discriminator, step = RUNS[loop][0]()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        context, after = way(generator, discriminator, Path(folder))
        with context:
            for _ in range(iterations):
                step()
                after()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start


def ways_here() -> dict[str, Beside]:
    """Those whose package is installed, after a short run that pays for the imports."""
    found = {}
    for name, way in WAYS.items():
        try:
            seconds("mlp", way, 30)
        except ImportError as error:
            print(f"left out: {name} ({error})")
        else:
            found[name] = way
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loops", nargs="*", help=f"of {', '.join(RUNS)}; mlp and dcgan if none is given")
    parser.add_argument("--device", default="cpu", help="where nets and data are made")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--iterations", type=int, help="of one training")
    parser.add_argument("--only", nargs="*", help="parts of the names of the ways to measure")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_device(asked.device)
    ways = ways_here()
    if asked.only:
        ways = {name: way for name, way in ways.items() if name == "nothing" or any(o in name for o in asked.only)}
    print("| loop | beside it | ratio, median | range | runs |\n|---|---|---|---|---|")
    for loop in asked.loops or ("mlp", "dcgan"):
        iterations = asked.iterations or RUNS[loop][1]
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(asked.rounds):
            order = list(ways.items())
            random.Random(turn).shuffle(order)
            for name, way in order:
                times[name].append(seconds(loop, way, iterations))
        for name, found in times.items():
            ratios = [a / b for a, b in zip(found, times["nothing"], strict=True)]
            low, high = min(ratios), max(ratios)
            print(
                f"| {loop}, {iterations} iterations | {name} | {statistics.median(ratios):.3f} | "
                f"{low:.3f} to {high:.3f} | {len(ratios)} |",
                flush=True,
            )
        alone = statistics.median(times["nothing"]) / iterations
        print(f"\n{loop}: {1000 * alone:.2f} ms an iteration with nothing beside it\n", flush=True)


if __name__ == "__main__":
    main()
