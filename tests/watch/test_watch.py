"""`gandiag.watch`: what a user may do with it, and what it says about odd loops."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.training import Loop, N, Z, discriminator, fingerprint, generator
from torch import nn

import gandiag
from gandiag.errors import RunDirError, TechniqueRefused, UnknownName, UsageError
from gandiag.rundir import RunReader


def test_as_a_plain_call_and_as_a_context_manager_it_records_the_same(tmp_path: Path) -> None:
    """Two ways to say when it ends; the columns agree but for the clock."""
    loop = Loop()
    run = gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "call", strict=True)
    loop.train(12)
    run.close()
    run.close()  # safe to call twice
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "with", strict=True) as run:
        loop.train(12)
    assert run.path == tmp_path / "with"
    call, block = (RunReader(tmp_path / name).scalars() for name in ("call", "with"))
    assert call.keys() == block.keys()
    for name in set(call) - {"time"}:
        np.testing.assert_array_equal(call[name], block[name])
    assert RunReader(tmp_path / "call").info.status == "finished"


def test_watching_changes_no_bit_over_a_flush_and_snapshots(tmp_path: Path) -> None:
    """120 iterations: weights, optimizer states and the random stream are those of the unwatched run."""
    plain = Loop().train(120).fingerprint()
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True, snapshot_rows=32):
        loop.train(120)
    assert loop.fingerprint() == plain
    assert len(RunReader(tmp_path / "run").snapshot_steps()) >= 5


def test_a_loop_that_raises_is_recorded_as_failed(tmp_path: Path) -> None:
    """The context manager notes it, writes what there is, and lets the error pass."""

    def training() -> None:
        loop = Loop()
        with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run"):
            loop.train(4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        training()
    run = RunReader(tmp_path / "run")
    assert run.info.status == "failed"
    assert len(run.scalars()["iteration"]) == 4


def test_run_json_says_what_was_watched(tmp_path: Path) -> None:
    """Roles with classes and parameters counted once, D's calls by kind and phase, versions, device, iterations."""
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True):
        loop.train(7)
    info = RunReader(tmp_path / "run").info
    for role, net in (("generator", loop.g), ("discriminator", loop.d)):
        assert info.roles[role]["classes"] == ["Sequential"]
        assert info.roles[role]["parameters"] == sum(p.numel() for p in net.parameters())
        assert info.roles[role]["confidence"] == 1.0
    assert info.d_calls == {"real": {"d": 7}, "fake": {"d": 7, "g": 7}}
    assert info.device == "cpu"
    assert info.blind_spots == []
    assert {"gandiag", "python", "torch"} <= set(info.versions)


def test_numbers_of_the_users_own(tmp_path: Path) -> None:
    """`log` writes them with the iteration that is under way: floats, tensors of one number; NaN where not given."""
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True) as run:
        loop.train(2)
        run.log(beta=0.5, score=torch.ones(1, requires_grad=True) * 3)
        loop.train(2)
    columns = RunReader(tmp_path / "run").scalars()
    np.testing.assert_array_equal(columns["beta"], np.float32([np.nan, np.nan, 0.5, np.nan]))
    np.testing.assert_array_equal(columns["score"], np.float32([np.nan, np.nan, 3, np.nan]))


@pytest.mark.parametrize(("name", "value"), [("iteration", 3.0), ("time", 0.0), ("x", torch.zeros(2))])
def test_what_log_does_not_take(tmp_path: Path, name: str, value: object) -> None:
    """Names that gandiag uses, and tensors of several numbers, are refused at the call."""
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run") as run, pytest.raises(UsageError, match=name):
        run.log(**{name: value})  # type: ignore[arg-type]


def test_a_second_attempt_continues_the_axis(tmp_path: Path) -> None:
    """Two runs into one directory make one series of iterations, snapshots too, and an event between them."""
    for _ in range(2):
        loop = Loop()
        with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True, snapshot_rows=N):
            loop.train(30)
    run = RunReader(tmp_path / "run")
    assert run.scalars()["iteration"].tolist() == list(range(1, 61))
    assert {25, 30, 55, 60} <= set(run.snapshot_steps())
    assert [e["step"] for e in run.events() if e["kind"] == "attempt"] == [30]


def test_columns_that_come_and_go_stay_in_one_file(tmp_path: Path) -> None:
    """Flushes of a few rows each, some without the columns of every tenth iteration, begin no new segments."""
    from gandiag.probes import _recorder

    loop = Loop()
    run = gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True)
    before, _recorder.FLUSH_SECONDS = _recorder.FLUSH_SECONDS, -1.0
    try:
        loop.train(25)
    finally:
        _recorder.FLUSH_SECONDS = before
        run.close()
    assert len(list((tmp_path / "run").glob("rank0.a0/*.arrows"))) == 1
    assert np.flatnonzero(~np.isnan(RunReader(run.path).scalars()["sample/std_ratio"])).tolist() == [0, 10, 20]


def test_two_runs_one_after_the_other(tmp_path: Path) -> None:
    """Also where the first was never closed, as in a notebook cell run twice: each records its own nets only."""
    first, second = Loop(), Loop(seed=1)
    run = gandiag.watch(first.g, first.d, run_dir=tmp_path / "first", strict=True)
    first.train(5)
    with gandiag.watch(second.g, second.d, run_dir=tmp_path / "second", strict=True):
        second.train(3)
    first.train(2)
    run.close()
    assert len(RunReader(tmp_path / "first").scalars()["iteration"]) == 7
    assert len(RunReader(tmp_path / "second").scalars()["iteration"]) == 3
    before = fingerprint(first.g.state_dict())
    first.train(1)
    assert fingerprint(first.g.state_dict()) != before
    assert len(RunReader(tmp_path / "first").scalars()["iteration"]) == 7


def test_several_nets_of_one_role(tmp_path: Path) -> None:
    """G in two parts and two Ds, given as lists: columns are numbered, and all parameters are counted."""
    torch.manual_seed(0)
    mapping, synthesis = nn.Sequential(nn.Linear(Z, 8), nn.ReLU()), nn.Sequential(nn.Linear(8, 2))
    ds = [discriminator(), discriminator(width=8)]
    og = torch.optim.Adam([*mapping.parameters(), *synthesis.parameters()], lr=1e-3)
    ods = [torch.optim.Adam(d.parameters(), lr=1e-3) for d in ds]
    with gandiag.watch([mapping, synthesis], ds, run_dir=tmp_path / "run", strict=True):
        for _ in range(4):
            fake = synthesis(mapping(torch.randn(N, Z)))
            for d, od in zip(ds, ods, strict=True):
                od.zero_grad()
                (d(fake.detach()).mean() - d(torch.randn(N, 2)).mean()).backward()
                od.step()
            og.zero_grad()
            sum(-d(fake).mean() for d in ds).backward()
            og.step()
    run = RunReader(tmp_path / "run")
    columns = run.scalars()
    assert run.info.roles["discriminator"]["classes"] == ["Sequential", "Sequential"]
    assert run.info.d_calls == {"real": {"d": 8}, "fake": {"d": 8, "g": 8}}
    assert columns["d_steps"].tolist() == [2] * 4
    assert columns["g_steps"].tolist() == [1] * 4
    for name in ("grad/d/0.0.weight", "grad/d/1.0.weight", "grad/g/0.0.weight", "grad/g/1.0.weight"):
        assert np.isfinite(columns[name]).all()


@pytest.mark.parametrize("nets", ["swapped", "without optimizer", "of another loop"])
def test_nets_that_do_not_fit_are_said(tmp_path: Path, nets: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Swapped nets, a net without an optimizer, or nets that are not trained: run.json and stderr say so."""
    loop = Loop()
    other = Loop(seed=1)
    given = {
        "swapped": (loop.d, loop.g),
        "without optimizer": (generator(), loop.d),
        "of another loop": (other.g, other.d),
    }[nets]
    with gandiag.watch(*given, run_dir=tmp_path / "run"):
        loop.train(12)
    spots = RunReader(tmp_path / "run").info.blind_spots
    words = {
        "swapped": "were generator and discriminator given in this order",
        "without optimizer": "no optimizer step of the generator was seen",
        "of another loop": "no optimizer step of the discriminator was seen",
    }[nets]
    assert any(words in text for text in spots), spots
    assert words in capsys.readouterr().err


def test_copies_and_pickles_of_watched_nets_are_plain(tmp_path: Path) -> None:
    """deepcopy, pickle and torch.save of a whole net work while watched, and the copy is no part of the run."""
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True):
        loop.train(2)
        average = copy.deepcopy(loop.g)
        buffer = io.BytesIO()
        torch.save(loop.d, buffer)
        copied = pickle.loads(pickle.dumps(loop.d))
        pickle.dumps(loop.optimizer_d)
        with torch.no_grad():
            copied(average(torch.randn(N, Z)))
        loop.train(2)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=False)
    assert type(saved) is nn.Sequential
    assert not saved._forward_hooks
    assert RunReader(tmp_path / "run").info.d_calls == {"real": {"d": 4}, "fake": {"d": 4, "g": 4}}


def test_torch_func_and_jit_work_on_watched_nets(tmp_path: Path) -> None:
    """functional_call under grad, vmap, and a traced copy give what they give unwatched."""
    loop = Loop()
    x = torch.randn(5, 2)

    def outside() -> list[torch.Tensor]:
        parameters = {name: p.detach() for name, p in loop.d.named_parameters()}
        slope = torch.func.grad(lambda p: torch.func.functional_call(loop.d, p, (x,)).sum())(parameters)
        each = torch.func.vmap(loop.d)(x)
        return [*slope.values(), each.detach()]

    plain = outside()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True):
        watched = outside()
        loop.train(2)
    for a, b in zip(plain, watched, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_bad_directory_is_an_error_at_the_call(tmp_path: Path) -> None:
    """Below a regular file, or one that holds something else: RunDirError, and torch is left alone."""
    (tmp_path / "file").write_text("")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "run.json").write_text('{"project": "somebody else\'s"}')
    before = torch.autograd.grad, nn.Sequential.forward
    loop = Loop()
    for path in (tmp_path / "file" / "run", foreign):
        with pytest.raises(RunDirError, match=path.name):
            gandiag.watch(loop.g, loop.d, run_dir=path)
    assert (torch.autograd.grad, nn.Sequential.forward) == before
    assert [p.name for p in foreign.iterdir()] == ["run.json"]


def test_techniques_that_cannot_be_are_errors_at_the_call(tmp_path: Path) -> None:
    """A misspelt name, a bad parameter, two that conflict: raised before anything is written."""
    loop = Loop()
    for techniques, error in (
        (["r2d2"], UnknownName),
        (["r1:gama=1"], UsageError),
        (["r1", "r1"], TechniqueRefused),
    ):
        with pytest.raises(error):
            gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", techniques=techniques)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own, on tracing
def test_a_compiled_net_trains_as_it_would_and_is_said(tmp_path: Path) -> None:
    """`torch.compile` (without code generation): same result; run.json says what cannot be seen."""

    def train(watched: bool) -> str:
        loop = Loop()
        plain = loop.d
        loop.d = torch.compile(plain, backend="eager")
        if watched:
            with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True):
                loop.train(3)
        else:
            loop.train(3)
        return fingerprint(loop.g.state_dict(), plain.state_dict())

    assert train(True) == train(False)
    run = RunReader(tmp_path / "run")
    assert len(run.scalars()["iteration"]) == 3
    assert run.info.d_calls == {"real": {"d": 3}, "fake": {"d": 3, "g": 3}}
    assert any("compiled" in text for text in run.info.blind_spots)
