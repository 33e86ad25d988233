"""The taint pass on whole loops: labels that nothing else gives, none that is wrong, not a bit changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.scripts import TRAIN, Terminal
from loops._training import STEPS, fingerprint, name, plain, train
from loops._watched import few_objects
from loops.idioms import IDIOMS, Idiom, Truth, _parts
from loops.idioms.augmentation import augment, consistency
from loops.idioms.stages import energies_augmented, signs_that_mislead
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

import gandiag
from gandiag.loop import Observer
from gandiag.loop.taint import ROUNDS
from gandiag.rundir import RunReader

Counts = dict[tuple[str, str], int]
N = 6
DATA = torch.as_tensor(np.random.default_rng(0).normal(size=(N, 2)), dtype=torch.float32)  # from outside of torch


def counted(observer: Observer) -> Counts:
    """D's calls by (kind, phase), without "eval"."""
    tally = observer.tally.to_json()
    return {(kind, p): n for kind, phases in tally.items() for p, n in phases.items() if kind != "eval"}


def tainted(loop: Callable[[], Any], *, taint: bool = True) -> tuple[Observer, Any]:
    """Run a loop below a bare observer; a taint pass that fails is an error."""
    said: list[str] = []
    observer = Observer(strict=True, taint=taint, failed=said.append)
    with few_objects():
        observer.open()
        try:
            result = loop()
        finally:
            observer.close()
    assert not said
    assert _get_current_dispatch_mode() is None
    return observer, result


@pytest.mark.parametrize("idiom", IDIOMS, ids=name)
def test_nothing_becomes_wrong_and_no_bit_changes(idiom: Idiom) -> None:
    """With taint each label is the true one, or unknown in the one loop that says why; all states are the plain's."""
    truth = Truth(STEPS)
    observer, things = tainted(lambda: train(idiom, truth))
    assert fingerprint(things) == plain(idiom)
    found = counted(observer)
    # Its very first call of D sees what a G made that belonged to an optimizer which was gone before its first step.
    unknown = 1 if name(idiom) == "optimizers.made_each_epoch" else 0
    assert sum(found.values()) == sum(truth.values())
    assert {key: n for key, n in found.items() if n > truth[key]} == ({("unknown", "d"): 1} if unknown else {})


@pytest.mark.parametrize("idiom", [consistency, signs_that_mislead, energies_augmented], ids=name)
def test_it_decides_what_nothing_else_does(idiom: Idiom) -> None:
    """In these loops calls stay unknown without it, and none with it, also in the rounds after its own."""
    without, _ = tainted(lambda: train(idiom), taint=False)
    assert counted(without)["unknown", "d"] >= STEPS
    with_, _ = tainted(lambda: train(idiom))
    assert ("unknown", "d") not in counted(with_)
    assert STEPS > 2 * ROUNDS


def test_what_a_net_keeps_for_itself_is_not_clean() -> None:
    """A G that leaves its samples in a buffer or an attribute hands out no data."""

    class Keeps(_parts.Gen):
        def __init__(self) -> None:
            super().__init__()
            self.buffer, self.last = torch.zeros(N, 2), torch.zeros(N, 2)

        def forward(self, z: Tensor) -> Tensor:
            x = super().forward(z)
            self.last = x.detach() * 1
            self.buffer.copy_(x.detach())
            return x * 1

    def loop() -> Truth:
        g, d, truth = Keeps(), _parts.Disc(), Truth()
        og, od = _parts.adam(g), _parts.adam(d)
        for _ in range(8):
            g(_parts.noise(N))
            x, y, z = augment(_parts.data(N)), augment(g.buffer), augment(g.last)
            od.zero_grad()
            (_parts.bce(d(x), 1.0) + _parts.bce(d(y), 0.0) + _parts.bce(d(z), 0.0)).backward()
            od.step()
            og.zero_grad()
            _parts.bce(d(g(_parts.noise(N))), 1.0).backward()
            og.step()
            truth.saw(real_d=1, fake_d=2, fake_g=1)
        return truth

    torch.manual_seed(0)
    observer, truth = tainted(loop)
    assert not {key: n for key, n in counted(observer).items() if key[0] != "unknown" and n > truth[key]}


def test_it_ends_after_its_rounds() -> None:
    """After five iterations no mode is on, and torch's own functions are back in their places."""
    before = dict(vars(Tensor))
    modes = []

    def loop() -> None:
        g, d = _parts.Gen(), _parts.Disc()
        og, od = _parts.adam(g), _parts.adam(d)
        for _ in range(ROUNDS + 1):
            modes.append(_get_current_dispatch_mode() is not None)
            _parts.d_step(g, d, od, Truth())
            _parts.g_step(g, d, og, Truth())

    observer, _ = tainted(loop)
    assert modes == [True] * ROUNDS + [False]
    assert observer.taint is None
    assert dict(vars(Tensor)) == before


def test_a_place_is_trusted_only_while_the_loop_keeps_its_pattern() -> None:
    """A loop that later calls D otherwise gets "unknown" there, and never what another place has taught."""

    def loop() -> Truth:
        g, d, truth = _parts.Gen(), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)), Truth()
        og, od = _parts.adam(g), _parts.adam(d)
        for i in range(12):
            x, y = augment(_parts.data()), augment(g(_parts.noise()).detach())
            od.zero_grad()
            loss = F.mse_loss(d(x), x) + F.relu(1 - F.mse_loss(d(y), y))
            truth.saw(real_d=1, fake_d=1)
            if i >= 8:
                more = augment(g(_parts.noise()).detach())
                loss = loss + F.relu(1 - F.mse_loss(d(more), more))
                truth.saw(fake_d=1)
            loss.backward()
            od.step()
            og.zero_grad()
            y = augment(g(_parts.noise()))
            F.mse_loss(d(y), y).backward()
            og.step()
            truth.saw(fake_g=1)
        return truth

    torch.manual_seed(0)
    observer, truth = tainted(loop)
    assert counted(observer) == {("real", "d"): 8, ("fake", "d"): 8, ("fake", "g"): 12, ("unknown", "d"): 12}
    assert sum(truth.values()) == 8 + 8 + 12 + 12


def test_the_scripts_own_modes_survive() -> None:
    """Where a mode of the script is on at the end of the rounds, the pass waits with leaving and follows no more."""

    class Count(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            Count.seen += 1
            return func(*args, **(kwargs or {}))

    def loop() -> None:
        g, d = _parts.Gen(), _parts.Disc()
        og, od = _parts.adam(g), _parts.adam(d)
        with Count():
            for _ in range(ROUNDS + 2):
                _parts.d_step(g, d, od, Truth())
                _parts.g_step(g, d, og, Truth())
            before = Count.seen
            _parts.d_step(g, d, od, Truth())
            assert Count.seen > before
        _parts.g_step(g, d, og, Truth())

    tainted(loop)
    observer = Observer(strict=True, taint=True, failed=(said := []).append)
    with Count():
        observer.open()
        observer.close()
    assert "another dispatch mode" in said[0]


def test_it_ends_where_something_is_compiled() -> None:
    """torch.compile and a dispatch mode do not go together: the pass leaves, says so, and a mode is on no more."""
    said: list[str] = []
    observer = Observer(strict=True, taint=True, failed=said.append)
    observer.open()
    try:
        assert _get_current_dispatch_mode() is observer.taint
        torch.compile(nn.Linear(2, 2), backend="eager")
        assert _get_current_dispatch_mode() is None
    finally:
        observer.close()
    assert "torch.compile" in said[0]


def test_a_forked_child_has_no_mode() -> None:
    """A DataLoader's worker works as if there were none, and the parent goes on."""
    observer = Observer(strict=True, taint=True)
    observer.open()
    try:
        child = os.fork()
        if not child:
            os._exit(0 if _get_current_dispatch_mode() is None else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert _get_current_dispatch_mode() is observer.taint
    finally:
        observer.close()


def test_noise_of_a_tensor_subclass_does_no_harm() -> None:
    """Loops that draw noise into a subclass of Tensor, in place, train on, and are labelled."""

    class Noise(Tensor):
        def sample(self) -> Noise:
            return self.normal_()

    def loop() -> Truth:
        g, d, truth = _parts.Gen(), _parts.Disc(), Truth()
        og, od, z = _parts.adam(g), _parts.adam(d), torch.zeros(N, _parts.Z).as_subclass(Noise)
        for _ in range(8):
            od.zero_grad()
            real = augment(_parts.data(N))
            fake = augment(g(z.sample()).detach().as_subclass(Tensor))
            (_parts.bce(d(real), 1.0) + _parts.bce(d(fake), 0.0)).backward()
            od.step()
            _parts.g_step(g, d, og, truth)
            truth.saw(real_d=1, fake_d=1)
        return truth

    observer, truth = tainted(loop)
    assert counted(observer) == dict(truth)


def test_run_json_says_that_it_was_used(tmp_path: Path) -> None:
    """`watch(taint=True)` is among the options of run.json, and without it there is nothing."""
    for taint in (True, False):
        g, d = _parts.Gen(), _parts.Disc()
        with gandiag.watch(g, d, run_dir=tmp_path / str(taint), snapshot_rows=8, taint=taint, strict=True) as run:
            og, od = _parts.adam(g), _parts.adam(d)
            for _ in range(ROUNDS + 1):
                _parts.d_step(g, d, od, Truth())
                _parts.g_step(g, d, og, Truth())
        assert RunReader(run.path).info.options.get("taint") is (True if taint else None)


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`gandiag run --taint` labels what it leaves unknown without: fakes augmented behind an autoencoder for D."""
    (tmp_path / "train.py").write_text(
        TRAIN.replace("nn.Linear(16, 1)", "nn.Linear(16, 2)")
        .replace("fake.detach()", "fake.detach() * 1.1")
        .replace("loss(yours(real), torch.ones(16, 1)) + loss(yours(seen), torch.zeros(16, 1))", "OF_D")
        .replace("loss(yours(fake), torch.ones(16, 1))", "(yours(fake * 1.1) - fake * 1.1).square().mean()")
        .replace("OF_D", "(yours(real) - real).square().mean() - 0.1 * (yours(seen) - seen).square().mean()")
    )
    terminal = Terminal(tmp_path, monkeypatch, capfd)
    done = terminal.gandiag("run", "--taint", "--run-dir", "run", "--", "python", "train.py", "--steps", 20)
    assert done.code == 0, done.err
    info = RunReader("run").info
    assert info.d_calls == {"real": {"d": 20}, "fake": {"d": 20, "g": 20}}
    assert info.options["taint"] is True


def test_data_from_outside_is_known_while_probes_read(tmp_path: Path) -> None:
    """What gandiag itself reads of G's values does not make data suspicious that come from a data loader."""
    g, d = _parts.Gen(), nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    rows = torch.utils.data.TensorDataset(DATA.repeat(10, 1))
    with gandiag.watch(g, d, run_dir=tmp_path / "run", snapshot_rows=8, taint=True, strict=True) as run:
        og, od = _parts.adam(g), _parts.adam(d)
        for (data,) in torch.utils.data.DataLoader(rows, batch_size=6, shuffle=True):
            x, y = augment(data), augment(g(_parts.noise(N)).detach())
            od.zero_grad()
            for part in x.chunk(2):
                F.mse_loss(d(part), part).backward()
            F.relu(1 - F.mse_loss(d(y), y)).backward()
            od.step()
            _ = g(_parts.noise()).mean().item()  # what scripts print leaves torch as one number, after D's step
            og.zero_grad()
            y = augment(g(_parts.noise(N)))
            F.mse_loss(d(y), y).backward()
            og.step()
    assert run.observer.tally.to_json() == {"real": {"d": 20}, "fake": {"d": 10, "g": 10}}
