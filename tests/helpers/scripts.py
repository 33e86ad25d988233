"""Training scripts as users have them, written into a folder, and `gandiag` started as users start it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

TRAIN = """
import argparse, hashlib, random
import numpy as np
import torch
from torch import nn

class Maker(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    def forward(self, z):
        return self.net(z)

class Judge(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), *norm, nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(16, 1))
    def forward(self, x):
        return self.net(x)

def sha256(*things):
    digest = hashlib.sha256(torch.get_rng_state().numpy().tobytes() + repr(random.getstate()).encode())
    def add(value):
        if isinstance(value, torch.Tensor):
            digest.update(value.detach().numpy().tobytes())
        elif isinstance(value, dict):
            [add(value[key]) for key in value]
        elif isinstance(value, (list, tuple)):
            [add(item) for item in value]
        else:
            digest.update(repr(value).encode())
    for thing in things:
        add(thing.state_dict())
    return digest.hexdigest()

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--norm", action="store_true")
    parser.add_argument("--blind", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(3); random.seed(3); np.random.seed(3)
    global mine, yours
    mine, yours = Maker(), Judge([nn.BatchNorm1d(16)] if options.norm else [])
    om, oy = torch.optim.Adam(mine.parameters(), lr=1e-3), torch.optim.Adam(yours.parameters(), lr=1e-3)
    loss = nn.BCEWithLogitsLoss()
    for _ in range(options.steps):
        real = torch.as_tensor(np.random.randn(16, 2), dtype=torch.float32) + random.random()
        fake = mine(torch.randn(16, 4))
        seen = torch.tensor(fake.tolist()) + 1 if options.blind else fake.detach()
        oy.zero_grad()
        (loss(yours(real), torch.ones(16, 1)) + loss(yours(seen), torch.zeros(16, 1))).backward()
        oy.step()
        om.zero_grad()
        (fake.square().mean() if options.blind else loss(yours(fake), torch.ones(16, 1))).backward()
        om.step()
    print(sha256(mine, yours, om, oy))

if __name__ == "__main__":
    main()
"""


class Done(NamedTuple):
    """What a user sees of a command that ended."""

    code: int
    out: str
    err: str

    def messages(self) -> list[str]:
        """The lines on stderr but for the one that says where is recorded."""
        return [line for line in self.err.splitlines() if not line.startswith("gandiag: recording to")]


class Terminal:
    """Starts `gandiag` in this process, and so without another import of torch; its children write here too."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")

    def gandiag(self, *words: object) -> Done:
        """Run `gandiag WORDS` to its end."""
        from gandiag_cli.app import main

        self._monkeypatch.setattr(sys, "argv", ["gandiag", *map(str, words)])
        self._capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *self._capfd.readouterr())
