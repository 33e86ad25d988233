"""Ranks that each hold some of the rows, and merge their moments: `moments_of_ranks.py FOLDER`.

`FOLDER/rows.npy` holds all rows; rank r has those from `STARTS[r]` to `STARTS[r + 1]`, the last one none at all. Each
leaves `FOLDER/rank-R.npz`: what it knows after merging, and what it was told where widths differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from gandiag.errors import ShapeError
from gandiag.metrics._moments import Moments

STARTS = (0, 13, 50, 50)
RANKS = len(STARTS) - 1


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    rows = np.load(Path(folder) / "rows.npy")[STARTS[rank] : STARTS[rank + 1]]
    merged = Moments.of(rows).merged_over_ranks()
    refused = ""
    try:
        Moments.of(np.ones((4, 2 + rank))).merged_over_ranks()
    except ShapeError as error:
        refused = str(error)
    np.savez(
        Path(folder) / f"rank-{rank}.npz",
        count=merged.count,
        mean=merged.mean.numpy(),
        scatter=merged.scatter.numpy(),
        refused=refused,
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.start_processes(work, (sys.argv[1],), nprocs=RANKS, start_method="fork")
