"""Rebuilds `events/`: what torch's SummaryWriter really writes. Needs the package tensorboard; the tests do not."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

HERE = Path(__file__).parent / "events"
CLOCK = 1_700_000_000.0

if __name__ == "__main__":
    torch.manual_seed(0)
    with SummaryWriter(str(HERE)) as writer:
        for step in range(40):
            clock = CLOCK + step
            writer.add_scalar("Loss/G", 0.5 + step / 8, step, walltime=clock, new_style=True)
            writer.add_scalar("Loss/D", math.nan if step == 7 else 1.25 + step / 8, step, walltime=clock)
            writer.add_scalars("scores", {"real": step / 4, "fake": -step / 4}, step, walltime=clock)
            writer.add_scalar("lr", 2e-4, step, walltime=clock, double_precision=True)
        writer.add_histogram("weights", torch.randn(50), 0, walltime=CLOCK)
        writer.add_image("samples", torch.rand(3, 4, 4), 0, walltime=CLOCK)
        writer.add_text("note", "a text", 0, walltime=CLOCK)
    # A writer names its files after the host and the clock.
    for path in HERE.rglob("*tfevents*"):
        path.rename(path.with_name("events.out.tfevents.1700000000.host"))
