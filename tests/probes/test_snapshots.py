"""Which samples a snapshot holds, when it is made, and what may go wrong."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import Loop, N, Z

import gandiag
from gandiag.probes import _recorder
from gandiag.probes._side import ROWS_SMALL
from gandiag.probes._snapshots import FIRST, GROWTH
from gandiag.rundir import RunReader


def rows(array: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in array}


def test_no_two_snapshots_share_a_row(record: Any) -> None:
    """Each snapshot's samples are all from after the one before, also the last one's."""
    _, run = record(Loop(), 85, snapshot_rows=40)
    snapshots = list(run.snapshots())
    assert len(snapshots) >= 4
    for side in ("real", "fake"):
        seen = [rows(getattr(snapshot, side)) for snapshot in snapshots]
        assert sum(map(len, seen)) == len(set().union(*seen))


def test_they_are_log_spaced(record: Any) -> None:
    """The first at iteration 25, each next one at 12 % and 25 more, the last one at the end if its rows are new."""
    _, run = record(Loop(), 270, snapshot_rows=N)
    steps = run.snapshot_steps()
    assert steps[0] == FIRST
    expected = [FIRST]
    while (following := max(expected[-1] + FIRST, int(expected[-1] * (1 + GROWTH)))) <= 270:
        expected.append(following)
    assert steps == [*expected, 270]
    assert steps[-2] - steps[-3] > FIRST


def test_a_snapshot_holds_the_last_rows_that_d_saw(record: Any) -> None:
    """The samples of the last D steps, with D's own logits and cotangents row by row, float32 in two dimensions."""
    seen: list[dict[str, torch.Tensor]] = []

    def note(**tensors: torch.Tensor) -> None:
        seen.append({name: value.detach().clone() for name, value in tensors.items()})

    loop = Loop(before_d=note)
    _, run = record(loop, FIRST, snapshot_rows=3 * N)
    snapshot = run.snapshot(FIRST)
    last = seen[-3:]
    for side in ("real", "fake"):
        np.testing.assert_array_equal(getattr(snapshot, side), torch.cat([s[side] for s in last]).numpy())
        logits = torch.cat([s[f"y_{side}"] for s in last]).flatten()
        np.testing.assert_allclose(getattr(snapshot, f"logits_{side}"), logits.numpy(), rtol=1e-6)
        slope = (logits.sigmoid() - float(side == "real")) / N
        np.testing.assert_allclose(getattr(snapshot, f"cotangents_{side}"), slope.numpy(), rtol=1e-4, atol=1e-8)
    assert snapshot.meta["output"] == "logit"
    assert snapshot.meta["samples"] == "2"


def test_a_fast_loop_has_snapshots_of_consecutive_iterations(record: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rounds are followed, the samples and logits are still those of the last D steps, at the end too.

    What D's loss did to them is known of the rounds that were watched, and NaN of the others.
    """
    monkeypatch.setattr(_recorder, "FAST", 1e9)
    seen: list[dict[str, torch.Tensor]] = []

    def note(**tensors: torch.Tensor) -> None:
        seen.append({name: value.detach().clone() for name, value in tensors.items()})

    columns, run = record(Loop(before_d=note), 650, snapshot_rows=25 * N)
    assert 0.15 * 650 < np.isfinite(columns["grad/d/total"]).sum() < 0.6 * 650
    assert np.isfinite(columns["loss/d"]).all()
    assert run.info.d_calls == {"real": {"d": 650}, "fake": {"d": 650, "g": 650}}
    steps = run.snapshot_steps()
    assert steps[-1] == 650
    for step in steps[-3:]:
        snapshot, last = run.snapshot(step), seen[step - 25 : step]
        for side in ("real", "fake"):
            np.testing.assert_array_equal(getattr(snapshot, side), torch.cat([s[side] for s in last]).numpy())
            logits = torch.cat([s[f"y_{side}"] for s in last]).flatten()
            np.testing.assert_allclose(getattr(snapshot, f"logits_{side}"), logits.numpy(), rtol=1e-6)
            slope = ((logits.sigmoid() - float(side == "real")) / N).numpy()
            found = getattr(snapshot, f"cotangents_{side}")
            known = ~np.isnan(found)
            assert N <= known.sum() < len(known)
            np.testing.assert_allclose(found[known], slope[known], rtol=1e-4, atol=1e-8)


def test_a_probability_is_stored_as_a_logit_and_said(record: Any) -> None:
    """`meta["output"]` says what the cotangents belong to."""
    _, plain = record(Loop(), 1)
    _, sigmoid = record(Loop(sigmoid=True), 1)
    assert sigmoid.snapshot(1).meta["output"] == "probability"
    np.testing.assert_allclose(sigmoid.snapshot(1).logits_real, plain.snapshot(1).logits_real, rtol=1e-4, atol=1e-5)


def test_a_short_run_has_one_with_what_there_is(record: Any) -> None:
    """Three iterations leave 3 * 16 rows, not none because 2,500 were wanted."""
    _, run = record(Loop(), 3)
    assert run.snapshot_steps() == [3]
    assert len(run.snapshot(3).fake) == 3 * N < ROWS_SMALL


def test_a_buffer_that_is_filled_anew_is_never_mixed_up(tmp_path: Path) -> None:
    """Real batches copied into one static tensor: overwritten ones are dropped, and from then on copies are kept."""
    loop, batches = Loop(), []
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True, snapshot_rows=4 * N):
        buffer = torch.empty(N, 2)
        plain = loop.real

        def real() -> torch.Tensor:
            buffer.copy_(plain())
            batches.append(buffer.clone())
            return buffer

        loop.real = real  # type: ignore[method-assign]
        loop.train(FIRST + 5)
    snapshot = RunReader(tmp_path / "run").snapshot(FIRST)
    np.testing.assert_array_equal(snapshot.real, torch.cat(batches[FIRST - 4 : FIRST]).numpy())


def test_real_and_fake_in_one_call_are_taken_apart(tmp_path: Path) -> None:
    """D(cat(real, fake)): each side gets its own rows and logits."""
    loop, seen = Loop(), []
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", strict=True, snapshot_rows=N):
        for _ in range(4):
            real, fake = loop.real(), loop.g(torch.randn(N, Z))
            loop.optimizer_d.zero_grad()
            y = loop.d(torch.cat([real, fake.detach()]))
            (loop.loss(y[:N], 1.0) + loop.loss(y[N:], 0.0)).backward()
            loop.optimizer_d.step()
            loop.optimizer_g.zero_grad()
            loop.loss(loop.d(fake), 1.0).backward()
            loop.optimizer_g.step()
            seen.append((real, fake.detach(), y.detach().flatten()))
    snapshot = RunReader(tmp_path / "run").snapshot(4)
    np.testing.assert_array_equal(snapshot.real, seen[-1][0].numpy())
    np.testing.assert_array_equal(snapshot.fake, seen[-1][1].numpy())
    np.testing.assert_allclose(snapshot.logits_real, seen[-1][2][:N].numpy(), rtol=1e-6)
    np.testing.assert_allclose(snapshot.logits_fake, seen[-1][2][N:].numpy(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["tensor", "array", "list"])
def test_labels_are_stored_with_their_rows(record: Any, kind: str) -> None:
    """`labels=` may answer with a tensor, an array or a list."""

    def labels(x: torch.Tensor) -> Any:
        found = (x[:, 0] > 1).long()
        return {"tensor": found, "array": found.numpy(), "list": found.tolist()}[kind]

    _, run = record(Loop(), 3, labels=labels)
    snapshot = run.snapshot(3)
    np.testing.assert_array_equal(snapshot.labels_real, snapshot.real[:, 0] > 1)
    np.testing.assert_array_equal(snapshot.labels_fake, snapshot.fake[:, 0] > 1)


def test_labels_that_draw_random_numbers_do_not_change_the_training(record: Any) -> None:
    """Every stream is put back, in torch, numpy and Python."""

    def labels(x: torch.Tensor) -> torch.Tensor:
        random.random()
        np.random.rand()
        return torch.randint(0, 2, (len(x),))

    plain = Loop().train(30).fingerprint()
    before = random.getstate(), np.random.get_state()[2]
    loop = Loop()
    record(loop, 30, labels=labels, snapshot_rows=N)
    assert loop.fingerprint() == plain
    assert (random.getstate(), np.random.get_state()[2]) == before


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (lambda x: torch.zeros(len(x), 2), "shape (48, 2) for 48 samples"),
        (lambda x: torch.zeros(3), "shape (3,) for 48 samples"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: ["a"] * len(x), "labels= failed"),
    ],
)
def test_wrong_labels_are_dropped_and_said(tmp_path: Path, labels: Any, reason: str) -> None:
    """The snapshot is kept without labels, run.json says why, and training goes on as it would have."""
    plain = Loop().train(3).fingerprint()
    loop = Loop()
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", labels=labels):
        loop.train(3)
    run = RunReader(tmp_path / "run")
    assert loop.fingerprint() == plain
    assert run.snapshot(3).labels_real is None
    assert any(reason in text for text in run.info.blind_spots)
    assert [e["kind"] for e in run.events()] == ["blind-spot"]


def test_an_embedder_that_fails_costs_the_snapshots_alone(tmp_path: Path) -> None:
    """Scalars go on, and run.json says what happened."""
    loop = Loop()

    def embed(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("these are no images")

    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path / "run", embedder=embed):
        loop.train(3)
    run = RunReader(tmp_path / "run")
    assert run.snapshot_steps() == []
    assert len(run.scalars()["iteration"]) == 3
    assert any("these are no images" in text for text in run.info.blind_spots)


def test_growing_samples_are_not_joined(tmp_path: Path) -> None:
    """When the samples' shape changes in mid-run, a snapshot holds the new ones alone."""
    from torch import nn

    torch.manual_seed(0)
    g, d = nn.Linear(4, 8), nn.Sequential(nn.Flatten(), nn.LazyLinear(1))
    d(torch.zeros(1, 8))
    og, od = (torch.optim.SGD(net.parameters(), lr=0.01) for net in (g, d))
    with gandiag.watch(g, d, run_dir=tmp_path / "run", strict=True):
        for shape in ((8,), (8,), (2, 4), (2, 4), (2, 4)):
            od.zero_grad()
            fake = g(torch.randn(N, 4)).reshape(N, *shape)
            (d(fake.detach()).mean() - d(torch.randn(N, *shape)).mean()).backward()
            od.step()
            og.zero_grad()
            (-d(fake).mean()).backward()
            og.step()
    snapshot = RunReader(tmp_path / "run").snapshot(5)
    assert snapshot.real.shape == snapshot.fake.shape == (3 * N, 8)
    assert snapshot.meta["samples"] == "2x4"
