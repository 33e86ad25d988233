"""Measures Fréchet distance, kernel distance and Vendi score beside the peers that make them, on the same arrays.

    python tests/benchmarks/single_metrics.py --peers DIR

`metrics.py` says how the peers are installed, and measures the pass that makes all the other metrics at once. Here each
metric is made by itself, from embeddings: ratios within a round, all in turn. The kernel distance of torch-fidelity is
the mean over 100 random subsets of 1,000 rows, as it is used; torchmetrics's `poly_mmd` is given all rows.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from metrics import alternate, prepare, ratio, sets, show, stand_in_for

from gandiag.metrics import frechet, kid, vendi


def contenders(real: torch.Tensor, fake: torch.Tensor) -> dict[str, dict[str, Callable[[], float]]]:
    """For each metric: who makes it, ours first."""
    part: Callable[[str], Any] = importlib.import_module
    with_torchvision("torch_fidelity.metric_fid", "torch_fidelity.metric_kid")
    return {
        "Fréchet distance": {
            "gandiag": partial(frechet, real=real, fake=fake),
            "torch-fidelity": lambda: fidelity_frechet(part("torch_fidelity.metric_fid"), real, fake),
            "torchmetrics": lambda: torchmetrics_frechet(part("torchmetrics.image.fid"), real, fake),
        },
        "kernel distance": {
            "gandiag": partial(kid, real=real, fake=fake),
            "torch-fidelity": lambda: fidelity_kernel(part("torch_fidelity.metric_kid"), real, fake),
            "torchmetrics": lambda: float(part("torchmetrics.image.kid").poly_mmd(real, fake)),
        },
        "Vendi score": {
            "gandiag": partial(vendi, fake),
            "vendi-score": lambda: float(part("vendi_score.vendi").score_dual(fake.double().numpy())),
        },
    }


def with_torchvision(*modules: str) -> None:
    """Import what cannot be imported without torchvision; torchmetrics can, and would ask an empty one for its spec."""
    stand_in_for("torchvision")
    for module in modules:
        importlib.import_module(module)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]


def fidelity_frechet(module: Any, real: torch.Tensor, fake: torch.Tensor) -> float:
    sides = (module.fid_features_to_statistics(x) for x in (real, fake))
    return float(next(iter(module.fid_statistics_to_metric(*sides, verbose=False).values())))


def torchmetrics_frechet(module: Any, real: torch.Tensor, fake: torch.Tensor) -> float:
    """As its `compute` does: sums in float64, then the function that it has for them."""
    moments = [(x.double().mean(0), torch.cov(x.double().T)) for x in (real, fake)]
    return float(module._compute_fid(*moments[0], *moments[1]))


def fidelity_kernel(module: Any, real: torch.Tensor, fake: torch.Tensor) -> float:
    settings = {"kid_subsets": 100, "kid_subset_size": min(1000, len(fake)), "verbose": False, "rng_seed": 0}
    settings |= {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    return float(next(iter(module.kid_features_to_metric(real, fake, **settings, kid_kernel_poly_coef0=1).values())))


def main(
    peers: Annotated[Path, typer.Option(help="Folder that the peers were installed to.")],
    n: int = 10_000,
    d: str = "64,512,2048",
    rounds: int = 3,
    threads: int = 2,
) -> None:
    """Ratios of time to gandiag's, and values."""
    prepare(peers, threads)
    show(("metric", "n", "d", "by", "value", "x of gandiag's time"))
    for width in map(int, d.split(",")):
        real, fake = sets(n, width)
        for metric, by in contenders(real, fake).items():
            seconds = alternate(dict(by), rounds)
            for name, job in by.items():
                show((metric, n, width, name, f"{job():.6g}", ratio(seconds, name, "gandiag")))


if __name__ == "__main__":
    typer.run(main)
