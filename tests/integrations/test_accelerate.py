"""Accelerate: the page's recipe is run, and the ways in which its loops are written are watched."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from helpers.scripts import Terminal
from helpers.training import discriminator, fingerprint, generator
from integrations.pages import blocks, commands
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.utils.data import DataLoader, TensorDataset

import gandiag
from gandiag.rundir import RunReader
from gandiag.watch import Run

STEPS, ROWS = 12, 16


@pytest.fixture(autouse=True)
def _fresh_accelerator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Accelerate keeps its settings in the process and in its environment, where the next test would find them."""
    before = dict(os.environ)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    for name in set(os.environ) - set(before):
        del os.environ[name]


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(tmp_path, monkeypatch, capfd)


def calls(run: RunReader) -> dict[str, dict[str, int]]:
    """D's training calls by kind and phase."""
    return {kind: phases for kind, phases in run.info.d_calls.items() if kind != "eval"}


def test_the_page_does_what_it_says(terminal: Terminal) -> None:
    """Its recipe (bf16, clipping, two batches a step) is labelled right, changes no bit, and can be analyzed."""
    (recipe,) = blocks("accelerate.md", "python")
    plain = "".join(line for line in recipe.splitlines(True) if not line.startswith(("import gandiag", "run")))
    assert "gandiag" not in plain
    bits = []
    for code in (plain, recipe):
        (terminal.folder / "train.py").write_text(code)
        left = runpy.run_path(str(terminal.folder / "train.py"))
        bits.append(fingerprint(*(left[name].state_dict() for name in ("G", "D", "opt_g", "opt_d"))))
        AcceleratorState._reset_state(reset_partial_state=True)
    assert bits[0] == bits[1]
    run = RunReader(terminal.folder / "runs" / "accelerate")
    assert calls(run) == {"real": {"d": 80}, "fake": {"d": 80, "g": 80}}
    assert (run.info.iterations, run.info.status, run.info.blind_spots) == (40, "finished", [])
    assert [run.info.roles[role]["parameters"] for role in ("generator", "discriminator")] == [162, 129]
    (command,) = commands("accelerate.md")
    answer = terminal.gandiag(*command.split()[1:])
    assert answer.code == 0, answer.err
    assert "runs/accelerate: 40 iterations" in answer.out


def train(accelerator: Accelerator, watch: Callable[..., Run | None] = lambda when, g, d: None) -> str:
    """A loop with G before D; gives the SHA-256 of weights, optimizer states and random stream.

    Args:
        accelerator: of Accelerate.
        watch: called with "first", "before" or "after" (of everything, or of `prepare`) and the nets; may watch.
    """
    torch.manual_seed(0)
    runs = [watch("first", None, None)]
    g, d = generator(), discriminator()
    data = DataLoader(TensorDataset(torch.randn(STEPS * ROWS, 2)), batch_size=ROWS, shuffle=True)
    opt_g, opt_d = (torch.optim.AdamW(net.parameters(), lr=1e-3) for net in (g, d))
    runs.append(watch("before", g, d))
    g, d, opt_g, opt_d, data = accelerator.prepare(g, d, opt_g, opt_d, data)
    runs.append(watch("after", g, d))
    for (real,) in data:
        opt_g.zero_grad()
        y = d(g(torch.randn(len(real), 4)))
        accelerator.backward(bce(y, torch.ones_like(y)))
        accelerator.clip_grad_norm_(g.parameters(), 0.5)
        opt_g.step()
        opt_d.zero_grad()
        y_real, y_fake = d(real), d(g(torch.randn(len(real), 4)).detach())
        accelerator.backward(bce(y_real, torch.ones_like(y_real)) + bce(y_fake, torch.zeros_like(y_fake)))
        accelerator.clip_grad_norm_(d.parameters(), 0.5)
        opt_d.step()
    for run in runs:
        if run is not None:
            run.close()
    return fingerprint(*(thing.state_dict() for thing in (g, d, opt_g, opt_d)))


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("when", ["first", "before"])
def test_a_plain_loop(tmp_path: Path, precision: str, when: str) -> None:
    """With the nets found by data flow as below `gandiag run`, or given before `prepare`; in float32 and bfloat16."""

    def watch(now: str, g: Any, d: Any) -> Run | None:
        if now != when:
            return None
        if when == "first":
            return Run(run_dir=tmp_path / "run", strict=True)
        return gandiag.watch(g, d, run_dir=tmp_path / "run", strict=True)

    bits = [train(Accelerator(mixed_precision=precision, cpu=True), *extra) for extra in ((), (watch,))]
    assert bits[0] == bits[1]
    run = RunReader(tmp_path / "run")
    assert calls(run) == {"real": {"d": STEPS}, "fake": {"d": STEPS, "g": STEPS}}
    assert (run.info.iterations, run.info.blind_spots) == (STEPS, [])
    # After clipping, as the optimizer uses them.
    columns = run.scalars()
    assert all(np.nanmax(columns[f"grad/{net}/total"]) <= 0.5 + 1e-6 for net in "gd")


def test_watching_after_prepare_sees_the_calls_or_says_that_it_does_not(tmp_path: Path) -> None:
    """`prepare` with bf16 hangs a forward of its own on each net: what that hides must not be hidden in silence."""

    def watch(now: str, g: Any, d: Any) -> Run | None:
        return gandiag.watch(g, d, run_dir=tmp_path / "run", strict=True) if now == "after" else None

    bits = [train(Accelerator(mixed_precision="bf16", cpu=True), *extra) for extra in ((), (watch,))]
    assert bits[0] == bits[1]
    run = RunReader(tmp_path / "run")
    assert run.info.iterations == STEPS
    assert run.info.blind_spots or calls(run) == {"real": {"d": STEPS}, "fake": {"d": STEPS, "g": STEPS}}
