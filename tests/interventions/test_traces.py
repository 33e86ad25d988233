"""Techniques change the training and nothing else: streams, buffers, keys and copies stay the script's."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import STYLES, D, Hand, Script, assert_same, dcgan, net_for, ring, script, train, watched
from helpers.kinds import Kind, NormD, NormG, trained
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim import SGD

from gandiag.techniques import TECHNIQUES

FEW = 6


def few() -> list[Tensor]:
    return ring(steps=FEW)


@pytest.mark.parametrize("style", STYLES)
def test_no_technique_is_no_change(style: str, tmp_path: Path) -> None:
    """watch(techniques=[]) is bit-identical to no gandiag at all, random stream and all."""
    ours, theirs = (script(d=net_for(style), data=few) for _ in range(2))
    watched(STYLES[style], ours, [], tmp_path)
    stream = torch.get_rng_state()
    train(STYLES[style], theirs)
    assert_same(ours.tensors(), theirs.tensors())
    assert torch.equal(stream, torch.get_rng_state())


def dropping(kind: Kind) -> Callable[[], nn.Module]:
    """D with dropout, which draws from the script's stream at each forward."""

    def features(self: nn.Module, x: Tensor) -> Tensor:
        return nn.functional.dropout(kind.d.features(self, x), 0.3, training=self.training)

    return lambda: type("Drop", (kind.d,), {"features": features})(sigmoid=True)


def plain(kind: Kind) -> Callable[[], nn.Module]:
    return lambda: kind.d(sigmoid=True)


def alone(kind: Kind, d: Callable[[], nn.Module]) -> Script:
    """The same script without gandiag."""
    return train(dcgan, script(g=kind.g, d=d, data=lambda: kind.data(FEW)))


@pytest.mark.parametrize("name", TECHNIQUES.names())
def test_the_scripts_random_stream_is_not_touched(name: str, tmp_path: Path) -> None:
    """With dropout in D each forward draws: after the training the stream is where it is without the technique."""
    # Packs have fewer rows inside D, so that dropout itself draws less.
    d_of = plain if name == "pacgan" else dropping
    _, run, kind = trained(name, dcgan, d_of, tmp_path, steps=FEW)
    stream = torch.get_rng_state()
    alone(kind, d_of(kind))
    assert torch.equal(stream, torch.get_rng_state())
    assert run.interventions.counts[name] >= 3


#: They change what is kept of G, not G; wait for a D that overfits; or are what the script does already.
UNCHANGED = ("ema", "ada", "non_saturating", "ttur", "learning_rate", "n_critic", "adaptive_n_critic")


@pytest.mark.parametrize("name", [name for name in TECHNIQUES.names() if name not in UNCHANGED])
def test_each_technique_changes_the_training(name: str, tmp_path: Path) -> None:
    """The other side of the equality tests: equal to the twin, and not because nothing was done."""
    ours, _, kind = trained(name, dcgan, plain, tmp_path, steps=FEW)
    theirs = alone(kind, plain(kind))
    assert any(not torch.equal(a, b) for a, b in zip(ours.g.parameters(), theirs.g.parameters(), strict=True))


def frozen(s: Script) -> Script:
    """Optimizers that move nothing: buffers then depend on the number and order of forwards alone."""
    s.optimizer_g, s.optimizer_d = (SGD(net.parameters(), lr=0.0) for net in (s.g, s.d))
    return s


@pytest.mark.parametrize("name", ["label_smoothing", "feature_matching"])
def test_batch_norm_statistics_are_the_scripts(name: str, tmp_path: Path) -> None:
    """The extra forwards of a technique leave running means, variances and counters of G and D as they were."""
    ours, theirs = (frozen(script(g=NormG, d=lambda: NormD(sigmoid=True), data=few)) for _ in range(2))
    watched(dcgan, ours, [name], tmp_path)
    train(dcgan, theirs)
    assert_same(ours.tensors(), theirs.tensors())


def old_norm(layer: nn.Module) -> nn.Module:
    return nn.utils.spectral_norm(layer)


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*deprecated")
@pytest.mark.parametrize("norm", [old_norm, parametrizations.spectral_norm])
@pytest.mark.parametrize("name", ["r1", "rpgan_r1_r2", "label_smoothing", "feature_matching"])
def test_the_scripts_own_spectral_norm(norm: object, name: str, tmp_path: Path) -> None:
    """Its vectors advance with the script's forwards alone, and the training with the technique goes on."""

    def normed() -> D:
        d = D(sigmoid=True)
        for layer in (d.first, d.middle, d.last):
            norm(layer)
        return d

    ours, theirs = (frozen(script(d=normed, data=few)) for _ in range(2))
    watched(dcgan, ours, [name], tmp_path / "frozen")
    train(dcgan, theirs)
    assert_same(ours.tensors(), theirs.tensors())
    moving = script(d=normed, data=few)
    run = watched(dcgan, moving, [name], tmp_path / "moving")
    assert run.interventions.counts[name] >= FEW
    assert all(value.isfinite().all() for value in moving.tensors().values())


def test_copies_and_checkpoints_in_the_middle_of_a_run(tmp_path: Path) -> None:
    """state_dict, deepcopy and pickle of the nets give what they give without gandiag, and disturb nothing."""
    techniques = ["spectral_norm", "pacgan", "minibatch_discrimination", "feature_matching"]

    class Copies(Hand):
        def after_g_step(self, s: Script) -> None:
            assert s.d.state_dict().keys() == D().state_dict().keys()
            x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
            for twin in (copy.deepcopy(s.d), pickle.loads(pickle.dumps(s.d))):
                assert torch.equal(twin(x), s.d.logits(x).sigmoid())
                assert "forward" not in vars(twin.first)
            fresh = D(sigmoid=True)
            fresh.load_state_dict(s.d.state_dict())
            copy.deepcopy(s.optimizer_d)

    def loop(s: Script, hand: Hand) -> None:
        torch.manual_seed(2)
        dcgan(s, Copies())

    class NoCopies(Hand):
        def after_g_step(self, s: Script) -> None:
            D(), D(sigmoid=True)  # fresh nets draw from the stream, as above

    def plain(s: Script, hand: Hand) -> None:
        torch.manual_seed(2)
        dcgan(s, NoCopies())

    ours, theirs = (script(d=net_for("dcgan"), data=few) for _ in range(2))
    watched(loop, ours, techniques, tmp_path / "copies")
    watched(plain, theirs, techniques, tmp_path / "none")
    assert_same(ours.tensors(), theirs.tensors())
