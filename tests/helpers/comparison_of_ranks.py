"""Ranks that each hold some of the rows, and share a comparison: `comparison_of_ranks.py FOLDER`.

`FOLDER/sets.npz` holds real and fake; rank r has those from `STARTS[r]` to `STARTS[r + 1]`, the last one none at all.
Each leaves `FOLDER/rank-R.npz`: its answers about all rows, and what it was told where widths
differ, and where one rank has NaN.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from gandiag.errors import ShapeError
from gandiag.metrics import compare_over_ranks

STARTS = (0, 90, 220, 220)
RANKS = len(STARTS) - 1


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    sets = np.load(Path(folder) / "sets.npz")
    mine = slice(STARTS[rank], STARTS[rank + 1])
    answers: dict[str, np.ndarray] = {}
    for name, options in (("plain", {}), ("blocks", {"size": (16, 24)}), ("late", {"size": (16, 24), "late": True})):
        seen = compare_over_ranks(real=sets["real"][mine], fake=sets["fake"][mine], **options)
        answers |= {f"{name}-{field}": np.asarray(value) for field, value in asdict(seen).items()}
    refused = ""
    try:
        compare_over_ranks(real=np.ones((9, 2 + rank)), fake=np.ones((9, 2 + rank)))
    except ShapeError as error:
        refused = str(error)
    broken = ""
    try:
        compare_over_ranks(real=np.ones((9, 2)), fake=np.full((9, 2), np.nan if rank == 1 else 1.0))
    except ShapeError as error:
        broken = str(error)
    np.savez(Path(folder) / f"rank-{rank}.npz", refused=refused, broken=broken, **answers)
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.start_processes(work, (sys.argv[1],), nprocs=RANKS, start_method="fork")
