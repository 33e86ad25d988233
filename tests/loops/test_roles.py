"""Which net is the generator and which the discriminator, without a hint; and the question where nothing tells."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loops._watched import name, watched
from loops.idioms import IDIOMS, Idiom
from torch import Tensor, nn
from torch.nn import functional as F

from gandiag.errors import RolesUnclear
from gandiag.watch import Run


@pytest.mark.parametrize("idiom", IDIOMS, ids=name)
def test_roles_are_found_without_a_hint(idiom: Idiom) -> None:
    """The nets of each role, by class and number of parameters, are those that the script calls so; surely, too."""
    seen = watched(idiom)
    assert all(seen.declared.values()), "the idiom has to return its nets as g, g_*, d and d_*"
    assert seen.nets["g"] == seen.declared["g"]
    assert seen.nets["d"] == seen.declared["d"]
    assert seen.confidence > 0.9


class Left(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Right(Left):
    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.more(torch.tanh(self.layer(x)))


def strangers(left: nn.Module, right: nn.Module) -> Tensor:
    """Two regressions side by side: no data flow from one net to the other."""
    x = torch.randn(8, 2)
    return F.mse_loss(left(x), x) + F.mse_loss(right(x), -x)


def mirrors(left: nn.Module, right: nn.Module) -> Tensor:
    """Each net undoes the other: as much flows one way as the other way."""
    x = torch.randn(8, 2)
    return F.mse_loss(left(right(x)), x) + F.mse_loss(right(left(x)), x)


def in_one(left: nn.Module, right: nn.Module) -> list[torch.optim.Optimizer]:
    return [torch.optim.SGD([*left.parameters(), *right.parameters()], lr=0.01)]


def in_two(left: nn.Module, right: nn.Module) -> list[torch.optim.Optimizer]:
    return [torch.optim.SGD(net.parameters(), lr=0.01) for net in (left, right)]


@pytest.mark.parametrize("optimizers", [in_one, in_two])
@pytest.mark.parametrize("loss", [strangers, mirrors])
def test_where_nothing_tells_one_question_is_asked(loss, optimizers, tmp_path: Path) -> None:
    """It names both candidates by class and size, and the flags that answer it; training itself goes on to its end."""
    left, right = Left(), Right()
    said: list[str] = []
    run = Run(run_dir=tmp_path / "run", strict=True, say=said.append)
    try:
        steppers = optimizers(left, right)
        for _ in range(12):
            for stepper in steppers:
                stepper.zero_grad()
            loss(left, right).backward()
            for stepper in steppers:
                stepper.step()
        question = run.unclear()
    finally:
        run.close()
    assert isinstance(question, RolesUnclear)
    text = str(question)
    for candidate in ("Left", "6 parameters", "Right", "12 parameters"):
        assert text.count(candidate) == 1
    for flag in ("--generator", "--discriminator"):
        assert text.count(flag) == 1
    assert not [line for line in said if "Error" in line]


@pytest.mark.parametrize(("generator", "discriminator"), [("Left", "Right"), ("Right", "Left"), ("Left", None)])
def test_the_flags_answer_the_question(generator: str, discriminator: str | None, tmp_path: Path) -> None:
    """With the names given, one of them or both, there is no question left and the roles are certain."""
    left, right = Left(), Right()
    options = {"generator": generator, "discriminator": discriminator}
    run = Run(run_dir=tmp_path / "run", strict=True, options=options)
    try:
        steppers = in_two(left, right)
        for _ in range(4):
            mirrors(left, right).backward()
            for stepper in steppers:
                stepper.step()
        assert run.unclear() is None
        assert [type(net).__name__ for net in run.observer.nets("g")] == [generator]
        assert [type(net).__name__ for net in run.observer.nets("d")] == ["Right" if generator == "Left" else "Left"]
        assert run.observer.roles.confidence() == 1.0
    finally:
        run.close()
