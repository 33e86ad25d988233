"""Mixed precision: what is recorded is what a loop without a loss scale would have used.

Each loop writes down, in double precision and from its own variables, what the columns must say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import X, Z, discriminator, fingerprint, generator
from references.recording import norm
from torch import Tensor, nn
from torch.nn import functional as F

import gandiag
from gandiag.rundir import RunReader

N, STEPS, SCALE = 32, 4, 2.0**9
KINDS: dict[str, dict[str, bool]] = {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
CLIPS: dict[str, Callable[[nn.Module], Any]] = {
    "norm": lambda net: nn.utils.clip_grad_norm_(net.parameters(), 0.02),
    "value": lambda net: nn.utils.clip_grad_value_(net.parameters(), 0.003),
}


class Mixed:
    """A GAN in mixed precision.

    Args:
        dtype: of autocast.
        kind: how the optimizer is implemented, a key of KINDS.
        clip: a key of CLIPS, after an explicit `unscale_`; or None, and then the scaler or a fused kernel unscales.

    Attributes:
        told: what the columns must say, one number an iteration.
        truth: gradient norms of the same losses of the same weights, all in double precision and without a scale.
    """

    def __init__(self, dtype: torch.dtype, kind: str, clip: str | None) -> None:
        torch.manual_seed(0)
        self.dtype, self.clip = dtype, clip
        self.g, self.d = generator(), discriminator()
        self.optimizers = {
            role: torch.optim.Adam(net.parameters(), lr=1e-3, **KINDS[kind]) for role, net in self.nets().items()
        }
        self.scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=2)
        self.told: dict[str, list[float]] = defaultdict(list)
        self.truth: dict[str, list[float]] = defaultdict(list)

    def nets(self) -> dict[str, nn.Module]:
        return {"g": self.g, "d": self.d}

    def loss(self, role: str, real: Tensor, z: Tensor, *, d: Any = None, g: Any = None) -> Tensor:
        d, g = d or self.d, g or self.g
        if role == "g":
            return F.softplus(-d(g(z))).mean()
        return F.softplus(-d(real)).mean() + F.softplus(d(g(z).detach())).mean()

    def train(self) -> str:
        for _ in range(STEPS):
            real, z = torch.randn(N, X), torch.randn(N, Z)
            for role in ("d", "g"):
                self.step(role, real, z)
        states = [x.state_dict() for x in (*self.nets().values(), *self.optimizers.values(), self.scaler)]
        return fingerprint(*states)

    def step(self, role: str, real: Tensor, z: Tensor) -> None:
        net, optimizer = self.nets()[role], self.optimizers[role]
        self.note_truth(role, real, z)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=self.dtype):
            loss = self.loss(role, real, z)
        self.scaler.scale(loss).backward()
        self.told[f"loss/{role}"].append(loss.item())
        left = self.scaler.get_scale()
        if self.clip:
            self.scaler.unscale_(optimizer)
            left = 1.0
            self.told[f"grad/{role}/before_clip"].append(norm([p.grad for p in net.parameters()]))
            CLIPS[self.clip](net)
        for name, p in net.named_parameters():
            self.told[f"grad/{role}/{name}"].append(norm([p.grad]) / left)
        self.told[f"grad/{role}/total"].append(norm([p.grad for p in net.parameters()]) / left)
        self.scaler.step(optimizer)
        self.scaler.update()

    def note_truth(self, role: str, real: Tensor, z: Tensor) -> None:
        """Without touching .grad of the loop's own."""
        copies = {key: {n: p.detach().double().requires_grad_() for n, p in net.named_parameters()}
                  for key, net in self.nets().items()}  # fmt: skip
        g, d = (lambda x, k=k: torch.func.functional_call(self.nets()[k], copies[k], (x,)) for k in ("g", "d"))
        loss = self.loss(role, real.double(), z.double(), d=d, g=g)
        self.truth[f"loss/{role}"].append(loss.item())
        gradients = torch.autograd.grad(loss, list(copies[role].values()))
        name = "before_clip" if self.clip else "total"
        self.truth[f"grad/{role}/{name}"].append(norm(gradients))


@pytest.mark.parametrize("clip", [None, "norm", "value"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_norms_and_losses_are_without_the_scale(
    tmp_path: Path, dtype: torch.dtype, kind: str, clip: str | None
) -> None:
    """Per parameter, in total and before clipping, whoever unscales; and no bit of the training is another.

    They are the script's own gradients over the scale to 1e-5, and those of the same weights in double precision as
    closely as the half-precision format allows.
    """
    plain = Mixed(dtype, kind, clip).train()
    loop = Mixed(dtype, kind, clip)
    loop.note_truth = lambda *args: None  # type: ignore[method-assign] # its own calls of D would be recorded as well
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path, strict=True):
        assert loop.train() == plain
    columns = RunReader(tmp_path).scalars()
    checked = {name for name in columns if name.startswith(("grad/", "loss/"))}
    assert checked == set(loop.told)
    for name in checked:
        np.testing.assert_allclose(columns[name], loop.told[name], rtol=1e-5, err_msg=name)
    for name, values in twin(dtype, kind, clip).items():
        np.testing.assert_allclose(columns[name], values, rtol=16 * torch.finfo(dtype).eps, err_msg=name)
    assert not columns["numerics/nonfinite"].any()
    assert not columns["skipped/d"].any()
    assert not columns["skipped/g"].any()


def twin(dtype: torch.dtype, kind: str, clip: str | None) -> dict[str, list[float]]:
    """What the same training, unwatched, says of itself in double precision."""
    loop = Mixed(dtype, kind, clip)
    loop.train()
    return loop.truth


@pytest.mark.parametrize("kind", KINDS)
def test_a_scale_that_starts_too_high_is_a_few_skips_and_no_wrong_number(tmp_path: Path, kind: str) -> None:
    """Iterations whose steps were skipped say so, their norms are not finite, and all others are right."""
    loop = Mixed(torch.float16, kind, None)
    loop.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    loop.note_truth = lambda *args: None  # type: ignore[method-assign]
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path, strict=True):
        for _ in range(3):
            loop.train()
    columns = RunReader(tmp_path).scalars()
    for role in ("d", "g"):
        skipped, total = columns[f"skipped/{role}"], columns[f"grad/{role}/total"]
        assert 1 <= skipped.sum() < 12
        np.testing.assert_array_equal(skipped > 0, ~np.isfinite(total))
        done = skipped == 0
        np.testing.assert_allclose(total[done], np.array(loop.told[f"grad/{role}/total"])[done], rtol=1e-5)
        np.testing.assert_allclose(columns[f"loss/{role}"], loop.told[f"loss/{role}"], rtol=1e-5)


def test_a_fused_optimizer_whose_gradients_are_unscaled_by_hand_from_some_round_on(tmp_path: Path) -> None:
    """A script that begins to clip in mid-run: norms without the scale before and after."""
    loop = Mixed(torch.float16, "fused", None)
    loop.note_truth = lambda *args: None  # type: ignore[method-assign]
    with gandiag.watch(loop.g, loop.d, run_dir=tmp_path, strict=True):
        loop.train()
        loop.clip = "norm"
        loop.train()
    columns = RunReader(tmp_path).scalars()
    for name in ("grad/d/total", "grad/g/total"):
        np.testing.assert_allclose(columns[name], loop.told[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("clip", CLIPS)
def test_in_half_precision_the_norm_before_clipping_does_not_overflow(tmp_path: Path, clip: str) -> None:
    """Parameters in bfloat16 throughout, gradients that sum to more than its digits can hold."""
    torch.manual_seed(0)
    g, d = generator().bfloat16(), discriminator().bfloat16()
    optimizers = [torch.optim.SGD(net.parameters(), lr=1e-3) for net in (d, g)]
    told = []
    with gandiag.watch(g, d, run_dir=tmp_path, strict=True):
        for _ in range(3):
            for net, optimizer in zip((d, g), optimizers, strict=True):
                optimizer.zero_grad()
                fake = g(torch.randn(N, Z, dtype=torch.bfloat16))
                real = torch.randn(N, X, dtype=torch.bfloat16)
                loss = -d(fake).mean() if net is g else (d(fake.detach()) - d(real)).mean()
                loss.backward()
                if net is d:
                    told.append(norm([p.grad for p in d.parameters()]))
                    CLIPS[clip](d)
                optimizer.step()
    columns = RunReader(tmp_path).scalars()
    # torch's own clip_grad_norm_ returns its norm in the gradients' format.
    tolerance = 1e-5 if clip == "value" else torch.finfo(torch.bfloat16).eps
    np.testing.assert_allclose(columns["grad/d/before_clip"], told, rtol=tolerance)


def test_losses_that_are_scaled_as_a_list_are_recorded_without_the_scale(tmp_path: Path) -> None:
    """`scaler.scale([a, b])` scales each; their sum is the loss."""
    torch.manual_seed(0)
    g, d = generator(), discriminator()
    og, od = (torch.optim.SGD(net.parameters(), lr=1e-3) for net in (g, d))
    scaler, told = torch.amp.GradScaler("cpu", init_scale=SCALE), []
    with gandiag.watch(g, d, run_dir=tmp_path, strict=True):
        for _ in range(3):
            od.zero_grad()
            losses = [F.softplus(-d(torch.randn(N, X))).mean(), F.softplus(d(g(torch.randn(N, Z)).detach())).mean()]
            for loss in scaler.scale(losses):
                loss.backward()
            told.append(sum(loss.item() for loss in losses))
            scaler.step(od)
            og.zero_grad()
            scaler.scale(F.softplus(-d(g(torch.randn(N, Z)))).mean()).backward()
            scaler.step(og)
            scaler.update()
    np.testing.assert_allclose(RunReader(tmp_path).scalars()["loss/d"], told, rtol=1e-5)
