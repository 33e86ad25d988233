"""Two ranks that train a GAN together, and one process that trains it alone on the same batches.

As a script, `ranks.py FOLDER`: each way of training together, unwatched and then watched, in two forked processes.
Run directories are `FOLDER/KIND`, and `FOLDER/said-by-RANK.json` holds what each process saw of each training.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.training import X, Z, discriminator, fingerprint, generator

import gandiag
from gandiag.loop import pattern
from gandiag.probes import _recorder

RANKS, JOINT, STEPS, CLIP = 2, 32, 16, 0.3
KINDS = ("ddp", "fsdp", "scaled")


def batches() -> Any:
    """The same for everybody: STEPS times (real [JOINT, 2], z [JOINT, 4])."""
    draw = torch.Generator().manual_seed(7)
    for _ in range(STEPS):
        real = torch.randn(JOINT, X, generator=draw) * 0.2 + torch.randint(0, 2, (JOINT, 1), generator=draw) * 2
        yield real, torch.randn(JOINT, Z, generator=draw)


def train(
    g: nn.Module, d: nn.Module, part: slice, *, scaler: torch.amp.GradScaler | None = None
) -> list[torch.optim.Optimizer]:
    """A loop that knows nothing of ranks but its part of each batch; clips D."""
    og, od = (torch.optim.Adam(net.parameters(), lr=1e-3) for net in (g, d))

    def move(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        (loss if scaler is None else scaler.scale(loss)).backward()
        if scaler is not None:
            scaler.unscale_(optimizer)
        if optimizer is od:
            nn.utils.clip_grad_norm_(d.parameters(), CLIP)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()

    for real, z in batches():
        real, z = real[part], z[part]
        move(od, F.softplus(-d(real)).mean() + F.softplus(d(g(z).detach())).mean())
        move(og, F.softplus(-d(g(z))).mean())
    return [og, od]


def nets() -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator, with the same weights in every process."""
    torch.manual_seed(0)
    return generator(), discriminator()


def _wrapped(kind: str, net: Any) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    if kind in ("ddp", "scaled"):
        return DistributedDataParallel(net)
    mesh = init_device_mesh("cpu", (RANKS,))
    for layer in (0, 2):
        fully_shard(net[layer], mesh=mesh)
    whole: nn.Module = fully_shard(net, mesh=mesh)
    return whole


def _local(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _local(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_local(value) for value in state]
    return state.to_local() if hasattr(state, "to_local") else state


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    group: Any = dist.distributed_c10d._get_default_group()
    share = JOINT // RANKS
    # As if these loops were so fast and long that not every round was measured, which alone would be so from here on.
    _recorder.FAST, _recorder.ALL, pattern.AGREE = 10.0, 2, 2
    lines: list[dict[str, Any]] = []
    for kind in KINDS:
        for watched in (False, True):
            g, d = (_wrapped(kind, net) for net in nets())
            scaler: Callable[..., Any] | None = None
            if kind == "scaled":
                from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

                scaler = ShardedGradScaler(device="cpu", init_scale=1024.0)
            before = group._get_sequence_number_for_group()  # goes up by one for each collective
            run = gandiag.watch(g, d, run_dir=Path(folder) / kind, strict=True, snapshot_rows=16) if watched else None
            optimizers = train(g, d, slice(rank * share, (rank + 1) * share), scaler=scaler)
            if run is not None:
                run.close()
            lines.append(
                {
                    "kind": kind,
                    "rank": rank,
                    "watched": watched,
                    "collectives": group._get_sequence_number_for_group() - before,
                    "sha": fingerprint(*(_local(x.state_dict()) for x in (g, d, *optimizers))),
                }
            )
            dist.barrier()
    (Path(folder) / f"said-by-{rank}.json").write_text(json.dumps(lines))
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.start_processes(_work, (sys.argv[1],), nprocs=RANKS, start_method="fork")
