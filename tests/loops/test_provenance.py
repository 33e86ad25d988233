"""Where an input came from: which rows of it, for how long that is remembered, and when it is not believed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from loops.idioms import Truth, outputs
from loops.idioms._parts import Disc, Gen, X, adam, d_step, data, g_step, noise
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F

from gandiag.loop import Observer
from gandiag.loop.calls import Call, Trace
from gandiag.loop.provenance import MEMORY, WHOLE, Provenance

G = frozenset({1})
R, A = False, True


def made(known: Provenance, rows: int = 8, *, output: Tensor | None = None, given: Tensor | None = None) -> Tensor:
    """An output of G, remembered as `Observer` does it."""
    g = torch.nn.Linear(3, X)
    z = torch.randn(rows, 3) if given is None else given
    leaf = g(z) if output is None else output
    call = Call(g, G, (z,), {}, True)
    call.inputs, call.output = [z], leaf.detach()
    known.remember(leaf, call)
    call.of_g = True
    return leaf


def rows_of(trace: Trace | None) -> list[bool] | str:
    if trace is None:
        return "untold"
    return "all" if trace.rows is None else trace.rows.tolist()


Join = Callable[[Tensor, Tensor, Tensor], Tensor]

#: How real, fake and other fake rows, eight each, come to D, and which rows are then G's.
JOINED: dict[str, tuple[Join, list[bool] | str]] = {
    "two": (lambda r, f, o: torch.cat([r, f]), [R] * 8 + [A] * 8),
    "fakes first": (lambda r, f, o: torch.cat([f, r]), [A] * 8 + [R] * 8),
    "negative axis": (lambda r, f, o: torch.cat([r, f], -2), [R] * 8 + [A] * 8),
    "augmented real": (lambda r, f, o: torch.cat([r, r + 1, f]), [R] * 16 + [A] * 8),
    "two fakes": (lambda r, f, o: torch.cat([r, f, o]), [R] * 8 + [A] * 16),
    "real between": (lambda r, f, o: torch.cat([f, r, o]), [A] * 8 + [R] * 8 + [A] * 8),
    "half of the fakes": (lambda r, f, o: torch.cat([r[:4], f[:4]]), [R] * 4 + [A] * 4),
    "uneven": (lambda r, f, o: torch.cat([f.split(3)[2], r]), [A] * 2 + [R] * 8),
    "two views": (lambda r, f, o: torch.cat([r, f + 1, f * 2]), [R] * 8 + [A] * 16),
    "view of two views": (lambda r, f, o: torch.cat([r, torch.cat([f + 1, f * 2])]), [R] * 8 + [A] * 16),
    "nested": (lambda r, f, o: torch.cat([torch.cat([r, f]), r, o]), [R] * 8 + [A] * 8 + [R] * 8 + [A] * 8),
    "real with a gradient": (
        lambda r, f, o: torch.cat([r.clone().requires_grad_(), r[:2], f]),
        [R] * 10 + [A] * 8,
    ),
    "augmented": (lambda r, f, o: (torch.cat([r, f]) * 0.9 + 0.1 * torch.randn(16, X)).tanh(), [R] * 8 + [A] * 8),
    "centred": (lambda r, f, o: (x := torch.cat([r, f])) - x.mean(0, keepdim=True), [R] * 8 + [A] * 8),
    "reshaped": (lambda r, f, o: F.pad(torch.cat([r, f]).view(16, 1, X), (1, 1)), [R] * 8 + [A] * 8),
    "labelled": (lambda r, f, o: torch.cat([torch.cat([r, f]), torch.ones(16, 1)], 1), [R] * 8 + [A] * 8),
    "all fake": (lambda r, f, o: torch.cat([f, o])[torch.randperm(16)], "all"),
    "no join": (lambda r, f, o: 0.5 * r + f[torch.randperm(8)], "all"),
    "shuffled": (lambda r, f, o: torch.cat([r, f])[torch.randperm(16)], "untold"),
    "selected": (lambda r, f, o: torch.cat([r, f]).index_select(0, torch.randperm(16)), "untold"),
    "gathered": (lambda r, f, o: torch.cat([r, f]).gather(0, torch.randperm(16)[:, None].expand(16, X)), "untold"),
    "flipped": (lambda r, f, o: torch.cat([r, f]).flip(0), "untold"),
    "multiplied": (lambda r, f, o: torch.eye(16)[torch.randperm(16)] @ torch.cat([r, f]), "untold"),
    "turned": (lambda r, f, o: torch.cat([r, f])[:2].t(), "untold"),
    "stacked": (lambda r, f, o: torch.stack([r, f]).flatten(0, 1), "untold"),
    "a pair of them": (lambda r, f, o: torch.stack([r, f]), [R, A]),
    "cut": (lambda r, f, o: torch.cat([r, f])[4:12], "untold"),
    "mixed up": (lambda r, f, o: 0.5 * (x := torch.cat([r, f])) + 0.5 * x[torch.randperm(16)], "untold"),
    "gaps on both sides": (lambda r, f, o: torch.cat([r, f, r]), "untold"),
}


@pytest.mark.parametrize("join", JOINED)
def test_rows_of_an_attached_join(join: str) -> None:
    """Each row is told for what it is, or none is: never all of them for G's, and no row for another."""
    known = Provenance()
    function, expected = JOINED[join]
    x = function(data(8), made(known), made(known))
    assert x.requires_grad
    assert rows_of(known.trace(x)) == expected


def test_what_ancestry_leaves_open_is_told_by_values() -> None:
    """A shuffled join says nothing by its graph, and everything by the values of its rows."""
    known, order = Provenance(), torch.randperm(16)
    known.look_at_rows(True)
    found = known.trace(torch.cat([data(8), made(known)])[order])
    assert rows_of(found) == (order >= 8).tolist()


def alive(storages: list[StorageWeakRef]) -> int:
    return sum(not storage.expired() for storage in storages)


def test_outputs_of_g_die_with_the_script() -> None:
    """What the script has dropped lives no longer than a few calls in a round, and no longer than the round."""
    known = Provenance()
    storages = [StorageWeakRef(made(known).untyped_storage()) for _ in range(MEMORY)]
    assert alive(storages) <= WHOLE
    known.look_at_rows(False)
    assert alive(storages) == 0


def test_what_g_was_given_dies_too() -> None:
    """Inputs of G may be images as large as its outputs."""
    known, storages = Provenance(), []
    pool = []
    for _ in range(20):
        given = torch.randn(8, 3)
        storages.append(StorageWeakRef(given.untyped_storage()))
        pool.append(made(known, given=given).detach())
        del given
    known.look_at_rows(False)
    assert alive(storages) == 0
    assert all(rows_of(known.trace(fake)) == "all" for fake in pool)  # the script holds these


def test_a_call_of_this_round_is_the_call_itself() -> None:
    """A round that may be followed is known by the identity of its calls."""
    known, g = Provenance(), torch.nn.Linear(3, X)
    call = Call(g, G, (), {}, True)
    call.output = torch.zeros(8, X)
    known.remember(call.output, call)
    found = known.trace(call.output[:4])
    assert found is not None
    assert found.call is call


def test_a_watched_loop_keeps_few_outputs() -> None:
    """No round's fakes outlive the next one, with the observer and all."""
    g, d, truth, storages = Gen(), Disc(), Truth(), []
    og, od = adam(g), adam(d)
    g.register_forward_hook(lambda module, args, output: storages.append(StorageWeakRef(output.untyped_storage())))
    observer = Observer(strict=True)
    observer.open()
    try:
        for _ in range(40):
            d_step(g, d, od, truth)
            g_step(g, d, og, truth)
            assert alive(storages[:-4]) == 0
    finally:
        observer.close()


def test_forget() -> None:
    """Nothing is known any more, nor kept."""
    known = Provenance()
    known.look_at_rows(True)
    fake = made(known).detach()
    known.forget()
    assert known.trace(fake) is None
    assert known.trace(fake.clone()) is None


def one_hot(rows: int, classes: int = 3) -> Tensor:
    return F.one_hot(torch.randint(0, classes, (rows,)), classes).float()


def test_equal_rows_of_discrete_values_are_no_proof() -> None:
    """Where other latents have given the same rows, data may have them too."""
    known = Provenance()
    known.look_at_rows(True)
    fakes = [made(known, 16, output=one_hot(16)) for _ in range(3)]
    assert known.trace(one_hot(16)) is None
    known.look_at_rows(False)
    known.look_at_rows(True)
    made(known, 2, output=torch.eye(3)[:2])
    assert known.trace(one_hot(16)) is None  # for good
    assert rows_of(known.trace(fakes[-1])) == "all"  # by its storage


def test_a_latent_used_twice_is_no_discrete_value() -> None:
    """G's step may compute anew what D's step has seen, in another order or in parts, and a grid repeats latents."""
    known, g, z = Provenance(), Gen(), noise()
    known.look_at_rows(True)
    for given in (z, z, z.flip(0), z[:4].repeat(4, 1)):
        with torch.no_grad():
            fake = g(given)
        made(known, output=fake, given=given)
    assert rows_of(known.trace(g(z).detach().clone())) == "all"


def test_one_constant_output_says_nothing_for_good() -> None:
    """A last layer that begins at zero puts out one row for all latents, until it has learnt."""
    known = Provenance()
    known.look_at_rows(True)
    made(known, 8, output=torch.zeros(8, X))
    assert known.trace(torch.zeros(8, X)) is None
    fake = made(known)
    assert rows_of(known.trace(fake.detach().clone())) == "all"


def test_labels_of_one_hot_samples() -> None:
    """No real sample is called fake because a fake was equal to it."""
    truth, observer = Truth(), Observer(strict=True)
    torch.manual_seed(0)
    observer.open()
    try:
        outputs.one_hot_samples(40, truth)
    finally:
        observer.close()
    counted = {(kind, p): n for kind, phases in observer.tally.to_json().items() for p, n in phases.items()}
    assert counted == dict(truth)
