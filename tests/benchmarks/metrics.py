"""Measures what the metrics engine costs and how right it is, beside its peers, on the same arrays, in the same run.

    python tests/benchmarks/metrics.py speed --peers DIR     passes, peers and bare products in turn
    python tests/benchmarks/metrics.py memory --peers DIR    the same, each in a process of its own
    python tests/benchmarks/metrics.py large                 n = 50,000
    python tests/benchmarks/metrics.py equality --peers DIR  against prdc, float64 twins, scipy, vendi-score
    python tests/benchmarks/metrics.py gpu                   n = 50,000, d = 2048 on a CUDA device

How often they raise false alarms, and what they find, is measured by `alarms.py`.

Peers live in a folder of their own, so that nothing of theirs gets into gandiag's environment:

    pip install --no-deps --target DIR prdc==0.2 torch-fidelity==0.4.0 torchmetrics==1.9.0 vendi-score==0.0.3 \
        lightning-utilities
"""

from __future__ import annotations

import contextlib
import importlib
import io
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

sys.path[:0] = [str(Path(__file__).parents[1])]

from references.mixtures import mixture  # noqa: E402
from references.neighbours import comparison, kernel_sums  # noqa: E402

from gandiag.metrics import (  # noqa: E402
    RealSide,
    frechet,
    kid,
    prdc,
    vendi,
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Peers = Annotated[Path | None, typer.Option(help="Folder that the peers were installed to.")]
Row = tuple[object, ...]
K = 5


def sets(n: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Real with 25 modes, fake with 15 of them, as the tables of the peers' notes have them."""
    return torch.from_numpy(mixture(n, d)[0]), torch.from_numpy(mixture(n, d, seed=1, kept=15)[0])


# -- contenders ----------------------------------------------------------------------------------------------


def products(real: torch.Tensor, fake: torch.Tensor) -> None:
    """Three bare Gram matrices, each as a whole: what no method that makes all distances can do without."""
    for a, b in ((real, real), (fake, fake), (real, fake)):
        a @ b.T


def tiled_products(real: torch.Tensor, fake: torch.Tensor, tile: int = 1024) -> None:
    """The same products in tiles of rows, in one buffer."""
    buffer = real.new_empty(tile, len(real))
    for a, b in ((real, real), (fake, fake), (real, fake)):
        for start in range(0, len(a), tile):
            rows = a[start : start + tile]
            torch.mm(rows, b.T, out=buffer[: len(rows), : len(b)])


def plain_pass(real: torch.Tensor, fake: torch.Tensor) -> None:
    """Precision, recall, density, coverage."""
    RealSide(real, k=K, clipped=False, repeats=False, kernel=False).against(fake)


def whole_pass(real: torch.Tensor, fake: torch.Tensor) -> None:
    """Those, clipped density and coverage, kernel distance, repetitions."""
    RealSide(real, k=K).against(fake)


def peer_prdc(real: torch.Tensor, fake: torch.Tensor) -> dict[str, float]:
    module = importlib.import_module("prdc")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the sizes
        found: dict[str, float] = module.compute_prdc(real.numpy(), fake.numpy(), nearest_k=K)
    return found


def peer_torch_fidelity(real: torch.Tensor, fake: torch.Tensor) -> dict[str, float]:
    """Precision and recall only."""
    stand_in_for("torchvision")
    module = importlib.import_module("torch_fidelity.metric_prc")
    settings = {"prc_neighborhood": K, "prc_batch_size": 10_000, "save_cpu_ram": False, "verbose": False}
    found: dict[str, float] = module.prc_features_to_metric(fake, real, **settings)
    return found


CONTENDERS: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {
    "three products": products,
    "three products, tiled": tiled_products,
    "gandiag: P, R, D, C": plain_pass,
    "gandiag: all of the pass": whole_pass,
    "prdc: P, R, D, C": peer_prdc,
    "torch-fidelity: P, R": peer_torch_fidelity,
}


def stand_in_for(name: str) -> None:
    """An empty torchvision: torch-fidelity imports it for its feature extractors, which nobody asks here."""
    if name in sys.modules:
        return

    class Anything(types.ModuleType):
        def __getattr__(self, attribute: str) -> Any:
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            return type(attribute, (), {})

    for part in ("", ".datasets", ".transforms", ".transforms.functional", ".models", ".models.vgg", ".io"):
        module = sys.modules[name + part] = Anything(name + part)
        module.__path__ = []
        if part:
            parent, _, child = (name + part).rpartition(".")
            setattr(sys.modules[parent], child, module)


# -- speed and memory ----------------------------------------------------------------------------------------


def alternate(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each job in each round; all jobs run in turn, so that a slow minute hits all of them."""
    for job in jobs.values():
        job()
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], name: str, to: str) -> str:
    """Median and range of the ratio within a round."""
    ratios = sorted(a / b for a, b in zip(seconds[name], seconds[to], strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"


@app.command()
def speed(
    peers: Peers = None, n: int = 10_000, d: str = "64,512,2048", rounds: int = 5, threads: int = 2, slow: bool = True
) -> None:
    """Ratios to three bare products of the same sizes."""
    prepare(peers, threads)
    show(("n", "d", "what", "x of three products", "x of P, R, D, C", "x of all"))
    for width in map(int, d.split(",")):
        real, fake = sets(n, width)
        known = [name for name in CONTENDERS if usable(name, peers) and (slow or "gandiag" in name or "three" in name)]
        jobs: dict[str, Callable[[], object]] = {name: partial(CONTENDERS[name], real, fake) for name in known}
        bare = RealSide(real, k=K, clipped=False, repeats=False, kernel=False)
        whole = RealSide(real, k=K)
        jobs["gandiag: P, R, D, C, real side known"] = partial(bare.against, fake)
        jobs["gandiag: all, real side known"] = partial(whole.against, fake)
        seconds = alternate(jobs, rounds)
        for name in jobs:
            to = ("three products", "gandiag: P, R, D, C", "gandiag: all of the pass")
            show((n, width, name, *(ratio(seconds, name, base) for base in to)))


@app.command()
def memory(peers: Peers = None, n: int = 10_000, d: str = "64,512,2048", threads: int = 2) -> None:
    """Peak memory beyond what the process held with the two sets in it."""
    show(("n", "d", "what", "extra MiB at the peak"))
    for width in map(int, d.split(",")):
        for name in CONTENDERS:
            if usable(name, peers):
                show((n, width, name, measured_apart(name, n, width, peers, threads)["extra"]))


@app.command()
def large(n: int = 50_000, d: int = 512, threads: int = 2, rounds: int = 1) -> None:
    """The largest sizes: time against products in tiles, in turn, and memory."""
    names = ("three products, tiled", "gandiag: P, R, D, C", "gandiag: all of the pass")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(measured_apart(name, n, d, None, threads))
    show(("n", "d", "what", "x of the same products in tiles", "extra MiB at the peak"))
    seconds = {name: [one["seconds"] for one in those] for name, those in found.items()}
    for name in names:
        show((n, d, name, ratio(seconds, name, names[0]), max(one["extra"] for one in found[name])))


@app.command()
def gpu(n: int = 50_000, d: int = 2048, rounds: int = 5) -> None:
    """The pass on a CUDA device against the same three products there, without a whole matrix."""
    torch.backends.cuda.matmul.allow_tf32 = False
    generator = torch.Generator("cuda").manual_seed(0)
    real, fake = (torch.randn(n, d, device="cuda", generator=generator) for _ in range(2))

    def finished(job: Callable[[torch.Tensor, torch.Tensor], object]) -> Callable[[], object]:
        def run() -> None:
            job(real, fake)
            torch.cuda.synchronize()

        return run

    jobs = {
        "three products, tiled": finished(lambda a, b: tiled_products(a, b, 4096)),
        "gandiag: P, R, D, C": finished(plain_pass),
        "gandiag: all of the pass": finished(whole_pass),
    }
    seconds = alternate(jobs, rounds)
    show(("n", "d", "what", "x of the same products in tiles", "MiB at the peak"))
    for name, job in jobs.items():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        job()
        extra = (torch.cuda.max_memory_allocated() - before) / 2**20
        show((n, d, name, ratio(seconds, name, "three products, tiled"), round(extra)))


@app.command(hidden=True)
def one(name: str, n: int, d: int, peers: Peers = None, threads: int = 2) -> None:
    """One contender once, in this process: prints its seconds and its extra memory."""
    prepare(peers, threads)
    job = CONTENDERS[name]
    small = sets(64, 8)
    job(*small)  # imports, and what a first call allocates
    real, fake = sets(n, d)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of making the sets
    held = kib("VmRSS")
    start = time.perf_counter()
    job(real, fake)
    seconds = time.perf_counter() - start
    print(seconds, (kib("VmHWM") - held) / 1024)


def measured_apart(name: str, n: int, d: int, peers: Path | None, threads: int) -> dict[str, float]:
    command = [sys.executable, __file__, "one", name, str(n), str(d), "--threads", str(threads)]
    if peers is not None:
        command += ["--peers", str(peers)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return {"seconds": float(answer[-2]), "extra": round(float(answer[-1]))}


def kib(field: str) -> int:
    """A figure about this process's memory, in KiB: what it holds now, or its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError("this system does not say how much memory a process holds")


# -- equality ------------------------------------------------------------------------------------------------


@app.command()
def equality(peers: Peers = None, n: int = 1500) -> None:
    """The largest differences to prdc on clean data, and to float64 twins, scipy and the definitions."""
    prepare(peers, 2)
    show(("what", "against", "cases", "largest difference"))
    if peers is not None:
        four = [largest(prdc(real=r, fake=f, k=K), peer_prdc(r, f)) for r, f in (sets(n, d) for d in (2, 64, 512))]
        show(("P, R, D, C", "prdc, clean data", len(four), f"{max(four):.1e}"))
    exact = [entries(RealSide(r, k=K).against(f), comparison(r, f, K)) for r, f in hard_sets(n // 3)]
    show(("each row's counts", "float64, whole matrices", len(exact), f"{sum(exact)} rows differ"))
    for title, ours, theirs in (("Fréchet distance", frechet, scipy_frechet), ("kernel distance", kid, closed_kid)):
        differences = [relative(ours(real=r, fake=f), theirs(r, f)) for r, f in (sets(n, d) for d in (2, 64, 512))]
        show((title, theirs.__doc__, len(differences), f"{max(differences):.1e} relative"))
    orders = (0.5, 1.0, 2.0, float("inf"))
    fakes = [sets(n, d)[1] for d in (64, 512)]
    differences = [relative(vendi(fake, q=q), defined_vendi(fake, q)) for fake in fakes for q in orders]
    show(("Vendi score", defined_vendi.__doc__, len(differences), f"{max(differences):.1e} relative"))


def hard_sets(n: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Offsets, scales, repetitions, ties, unequal numbers."""
    for d in (2, 64, 512):
        real, fake = sets(n, d)
        for offset in (0, 10, 100, 1000, 3000):
            yield real + offset, fake[: n // 2] + offset
        for scale in (1e-3, 1e3):
            yield real * scale, fake * scale
        yield real, real[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
        yield real.repeat(2, 1)[:n], real[:1].expand(n // 4, d).contiguous()
        yield (real * 2).round(), (fake * 2).round()


def entries(found: Any, expected: dict[str, np.ndarray]) -> int:
    """How many rows' answers differ."""
    return sum(int((getattr(found, name).numpy() != values).sum()) for name, values in expected.items())


def largest(found: Any, expected: dict[str, float]) -> float:
    return max(abs(getattr(found, name) - float(value)) for name, value in expected.items())


def relative(found: float, expected: float) -> float:
    return abs(found - expected) / abs(expected)


def scipy_frechet(real: torch.Tensor, fake: torch.Tensor) -> float:
    """scipy's sqrtm in float64"""
    from scipy.linalg import sqrtm

    one, other = (np.cov(x.double().numpy(), rowvar=False) for x in (real, fake))
    apart = (real.double().mean(0) - fake.double().mean(0)).square().sum()
    return float(apart + np.trace(one + other - 2 * sqrtm(one @ other).real))


def closed_kid(real: torch.Tensor, fake: torch.Tensor) -> float:
    """the closed U-statistic in float64"""
    sums = kernel_sums(real, fake)
    n, m = len(real), len(fake)
    within = sums["kernel_real"].sum() / n / (n - 1) + sums["kernel_fake"].sum() / m / (m - 1)
    return float(within - 2 * sums["kernel_of_real"].sum() / n / m)


def defined_vendi(x: torch.Tensor, q: float) -> float:
    """the definition on the n x n kernel"""
    rows = torch.nn.functional.normalize(x.double(), dim=1)
    shares = torch.linalg.eigvalsh(rows @ rows.T / len(x)).clamp(min=0)
    shares = shares[shares > len(x) * 1e-16]
    if q == 1:
        return float(torch.exp(-(shares * shares.log()).sum()))
    return float(1 / shares.max()) if np.isinf(q) else float(shares.pow(q).sum() ** (1 / (1 - q)))


def show(cells: tuple[object, ...]) -> None:
    """A row of a Markdown table, at once."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def usable(name: str, peers: Path | None) -> bool:
    return peers is not None or not name.startswith(("prdc", "torch-fidelity"))


def prepare(peers: Path | None, threads: int) -> None:
    torch.set_num_threads(threads)
    if peers is not None:
        sys.path.append(str(peers.resolve()))


if __name__ == "__main__":
    app()
