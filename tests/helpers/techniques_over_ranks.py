"""Two ranks that train a GAN under DDP with techniques turned on from outside: `techniques_over_ranks.py FOLDER`.

Each rank leaves `FOLDER/rank-R.pt`: for each set of techniques the weights that it ends with, and the added ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.ranks import JOINT, RANKS, nets, train

import gandiag

#: Techniques that judge each sample, or each pair, pack or weight, by itself: the mean over ranks is that of the whole.
SETS = (
    ["r1:gamma=0.5"],
    ["rpgan_r1_r2"],
    ["hinge", "grad_clip:max_norm=0.05"],
    ["label_smoothing", "ema"],
    ["pacgan:m=2"],
    ["spectral_norm", "l2"],
    ["lsgan", "sgd"],
)


def trained(techniques: list[str], part: slice, folder: Path, *, together: bool) -> dict[str, Tensor]:
    """The weights after a watched training, in double precision."""
    g, d = (net.double() for net in nets())
    wrapped = [DistributedDataParallel(net) if together else net for net in (g, d)]
    with gandiag.watch(*wrapped, run_dir=folder, techniques=techniques, strict=True) as run:
        train(*wrapped, part)
    found = {f"g.{name}": value for name, value in g.state_dict().items()}
    found |= {f"d.{name}": value for name, value in d.state_dict().items()}
    for technique in run.techniques:
        added = [p for parameters in technique.added().values() for p in parameters]
        found |= {f"{technique.card.name}.{i}": p for i, p in enumerate(added)}
    return {name: value.detach().clone() for name, value in found.items()}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    share = JOINT // RANKS
    part = slice(rank * share, (rank + 1) * share)
    ends = [trained(set_, part, Path(folder) / f"set-{i}", together=True) for i, set_ in enumerate(SETS)]
    torch.save(ends, Path(folder) / f"rank-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.start_processes(work, (sys.argv[1],), nprocs=RANKS, start_method="fork")
