"""A remediation of a real, small GAN: recorded, diagnosed, trained again with and without techniques."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gandiag.rundir import RunReader

SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
angles = torch.arange(8) * torch.pi / 4
centres = torch.stack([angles.cos(), angles.sin()], 1)

def real(n):
    return centres[torch.randint(8, (n,))] + 0.02 * torch.randn(n, 2)

G = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
D = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
opt_g = torch.optim.Adam(G.parameters(), 1e-3, betas=(0.5, 0.999))
opt_d = torch.optim.Adam(D.parameters(), 1e-3, betas=(0.5, 0.999))
bce = nn.BCEWithLogitsLoss()
ones, zeros = torch.ones(128, 1), torch.zeros(128, 1)
for _ in range(350):
    fake = G(torch.randn(128, 2))
    loss_d = bce(D(real(128)), ones) + bce(D(fake.detach()), zeros)
    opt_d.zero_grad()
    loss_d.backward()
    opt_d.step()
    loss_g = bce(D(fake), ones)
    opt_g.zero_grad()
    loss_g.backward()
    opt_g.step()
"""


def gandiag(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gandiag_cli", *words], cwd=cwd, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.slow
def test_from_a_collapsed_run_to_an_answer(tmp_path: Path) -> None:
    """One candidate and the control, two seeds each, in full: what the JSON says is what lies on disk.

    Whether the candidate wins is left open here: 350 iterations are too few to promise it.
    """
    (tmp_path / "train.py").write_text(SCRIPT)
    recorded = gandiag("run", "--run-dir", "runs/a", "--", sys.executable, "train.py", cwd=tmp_path)
    assert recorded.returncode == 0, recorded.stderr

    result = gandiag("remediate", "runs/a", "--arms", "1", "--budget", "4", "--yes", "--json", cwd=tmp_path)
    assert result.returncode in (0, 1), result.stderr
    found = json.loads(result.stdout)
    assert found["verified"] == (result.returncode == 0) == (found["winner"] is not None)
    (candidate,) = found["arms"]
    assert candidate["techniques"]
    assert found["control"]["seeds"] == candidate["seeds"] == [1, 2]
    for arm, techniques in ((found["control"], 0), (candidate, len(candidate["techniques"]))):
        for run_dir in map(RunReader, arm["run_dirs"]):
            assert run_dir.scalars(names=[])["iteration"][-1] == 350
            assert len(run_dir.info.techniques) == techniques
            assert run_dir.info.command == RunReader(tmp_path / "runs" / "a").info.command
            assert run_dir.info.parent == str((tmp_path / "runs" / "a").resolve())
    scores = found["control"]["metrics"]["score"]["per_seed"]
    assert scores[0] != scores[1], "the seed offset reached the script"
    assert (tmp_path / "runs" / "a" / "derived" / "remediation.html").exists()
