"""What scripts do around their training steps: none of it is mistaken, kept alive, or the end of the watching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from loops._training import name
from loops._watched import watched
from loops.idioms import IDIOMS
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from gandiag.loop import Observer
from gandiag.loop.passes import Passes
from gandiag.loop.provenance import Provenance

ROUNDS = 20


class Scripted:
    """A plain loop of which any part can be replaced."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.g = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
        self.d = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        self.nets: list[nn.Module] = [self.g, self.d]
        self.sorts: list[type[torch.optim.SGD]] = [torch.optim.SGD, torch.optim.SGD]
        self.real: Callable[[], Tensor] = lambda: torch.randn(8, 2) + 3
        self.shown: Callable[[Tensor], Tensor] = torch.Tensor.detach
        self.between: Callable[[int], Any] = lambda i: None

    def optimizers(self) -> list[torch.optim.SGD]:
        """New ones, of G and of D."""
        self.steps = [sort(net.parameters(), lr=0.01) for sort, net in zip(self.sorts, self.nets, strict=True)]
        return self.steps

    def play(self, observer: Observer, rounds: int = ROUNDS) -> dict[str, Any]:
        """Train beside the observer, and return what it has counted."""
        observer.open()
        try:
            of_g, of_d = self.optimizers()
            for i in range(rounds):
                of_d.zero_grad()
                (-self.d(self.real()).mean()).backward()
                fake = self.g(torch.randn(8, 2))
                self.d(self.shown(fake)).mean().backward()
                of_d.step()
                self.between(i)
                of_g.zero_grad()
                (-self.d(fake).mean()).backward()
                of_g.step()
        finally:
            observer.close()
        return observer.tally.to_json()


RIGHT = {"real": {"d": ROUNDS}, "fake": {"d": ROUNDS, "g": ROUNDS}}


def test_without_rows_as_on_a_gpu_nothing_is_called_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all idioms, with rows not compared, as that would wait for a GPU: 98.5 % right, none wrong."""
    monkeypatch.setattr(Provenance, "by_value", property(lambda self: False, lambda self, value: None), raising=False)
    unknown = calls = 0
    for idiom in IDIOMS:
        seen = watched.__wrapped__(idiom)
        assert not seen.wrong(), name(idiom)
        unknown, calls = unknown + seen.unknown(), calls + sum(seen.truth.values())
    assert unknown <= 0.015 * calls, f"{unknown} of {calls} unknown"


def test_one_buffer_for_real_and_fake() -> None:
    """Both are copied into it in turn, and the fakes come through numpy: votes tell them apart."""
    script, buffer = Scripted(), torch.zeros(8, 2)
    script.real = lambda: buffer.copy_(torch.randn(8, 2) + 3)
    script.shown = lambda fake: buffer.copy_(torch.from_numpy(fake.detach().numpy() * np.float32(1.01)))
    counted = script.play(Observer(strict=True), rounds=40)
    assert counted.get("real", {}).get("d", 0) <= 40
    assert counted["fake"]["d"] + counted.get("unknown", {}).get("d", 0) >= 40


def test_pictures_in_inference_mode() -> None:
    """Samples that a script makes for people to look at, and scores for its log, end nothing."""
    script = Scripted()

    @torch.inference_mode()
    def look(i: int) -> None:
        script.d(script.g(torch.randn(4, 2)))

    script.between = look
    counted = script.play(Observer(strict=True))
    counted.pop("eval", None)
    assert counted == RIGHT


def test_a_sparse_argument() -> None:
    """A graph's adjacency beside the samples."""
    script, adjacency = Scripted(), torch.eye(8).to_sparse()

    class OnGraphs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 1)

        def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
            return torch.sparse.mm(adjacency, self.inner(x))  # type: ignore[no-any-return]

    net = OnGraphs()
    script.nets[1] = net
    script.d = lambda x: net(x, adjacency)  # type: ignore[assignment]
    counted = script.play(Observer(strict=True))
    assert counted["fake"] == RIGHT["fake"]
    assert counted["real"] == RIGHT["real"]


@pytest.mark.parametrize("grad", [False, True])
def test_a_long_evaluation_keeps_no_batches(grad: bool) -> None:
    """Five hundred calls of D between two steps: few of their batches stay alive, and all are counted."""
    script, waiting = Scripted(), []

    def evaluate(i: int) -> None:
        if i != ROUNDS - 6:
            return
        with torch.set_grad_enabled(grad):
            for _ in range(500):
                script.d(torch.randn(4, 2))
        waiting.append(len(observer.ledger.pending))

    script.between = evaluate
    observer = Observer(strict=True)
    counted = script.play(observer)
    assert waiting[0] <= 70
    assert sum(counted["eval"].values()) == 500
    assert {kind: counted[kind] for kind in ("real", "fake")} == RIGHT


def test_a_critic_that_trains_alone_at_first_keeps_few_batches() -> None:
    """Two hundred steps of D before G's first: its steps are counted, and not all kept till then."""
    script = Scripted()
    observer = Observer(strict=True)
    most = []
    observer.open()
    try:
        of_g, of_d = script.optimizers()
        for i in range(203):
            of_d.zero_grad()
            fake = script.g(torch.randn(8, 2))
            (script.d(fake.detach()).mean() - script.d(script.real()).mean()).backward()
            of_d.step()
            if i >= 200:
                of_g.zero_grad()
                (-script.d(fake).mean()).backward()
                of_g.step()
            most.append(len(observer.ledger._early))
    finally:
        observer.close()
    assert max(most) <= 16
    assert observer.tally.to_json() == {"real": {"d": 203}, "fake": {"d": 203, "g": 3}}


def test_a_generator_that_hands_on_its_input() -> None:
    """Pix2pix-like: its output holds the source picture, and D sees that as its real sample."""
    script = Scripted()
    inner = script.g
    kept: dict[str, Tensor] = {}

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"fake": self.inner(x), "input": x}

    both = Both()
    script.nets[0] = both

    def generate(x: Tensor) -> Tensor:
        out = both(x)
        kept.update(out)
        return out["fake"]  # type: ignore[no-any-return]

    script.g = generate  # type: ignore[assignment]
    script.real = lambda: kept.get("input", torch.randn(8, 2))
    counted = script.play(Observer(strict=True))
    assert counted["real"] == RIGHT["real"]
    assert counted["fake"] == RIGHT["fake"]


def test_a_step_that_was_interrupted_is_not_the_last_that_is_seen() -> None:
    """Ctrl-C in the middle of D's step, caught by the script: the steps after it count."""
    script = Scripted()
    observer = Observer(strict=True)
    interrupted = []

    class Once(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            if len(interrupted) == 1:
                interrupted.append(2)
                raise KeyboardInterrupt
            return super().step(closure)

    script.sorts[1] = Once

    def again(i: int) -> None:
        if i == 5:
            interrupted.append(1)
            with pytest.raises(KeyboardInterrupt):
                script.steps[1].step()

    script.between = again
    script.play(observer)
    assert observer.steps["d"] >= ROUNDS
    assert observer.steps["g"] == ROUNDS


def test_an_error_while_gradients_arrive_stays_out_of_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs inside the script's own backward(), which must not raise it."""
    said: list[str] = []

    class Broken:
        def to(self, *args: Any, **kwargs: Any) -> Tensor:
            raise RuntimeError("broken on purpose")

    begin = Passes.begin

    def scaled(self: Passes, *args: Any) -> None:
        begin(self, *args)
        self._scale = Broken()  # type: ignore[assignment]

    monkeypatch.setattr(Passes, "begin", scaled)
    Scripted().play(Observer(failed=said.append))
    assert len(said) == 1
    assert "broken on purpose" in said[0]


def test_nothing_of_the_scripts_is_kept_alive() -> None:
    """Of sixty batches of G's few are alive while it trains, and none once the run is closed."""
    script = Scripted()
    alive = []
    stored: list[StorageWeakRef] = []

    def note(i: int) -> None:
        x = script.g(torch.randn(8, 2))
        stored.append(StorageWeakRef(x.untyped_storage()))  # type: ignore[no-untyped-call]
        alive.append(sum(not s.expired() for s in stored))  # type: ignore[no-untyped-call]

    script.between = note
    script.play(Observer(strict=True), rounds=60)
    assert max(alive) <= 10, "of outputs that the script has let go of"
    assert all(s.expired() for s in stored)  # type: ignore[no-untyped-call]


def test_samples_made_between_two_rounds_are_let_go() -> None:
    """Fifty batches for a metric: few are alive at a time."""
    script = Scripted()
    alive = []

    def evaluate(i: int) -> None:
        stored = []
        with torch.no_grad():
            for _ in range(50):
                stored.append(StorageWeakRef(script.g(torch.randn(8, 2)).untyped_storage()))  # type: ignore[no-untyped-call]
        alive.append(sum(not s.expired() for s in stored))  # type: ignore[no-untyped-call]

    script.between = evaluate
    script.play(Observer(strict=True))
    assert max(alive) <= 20
