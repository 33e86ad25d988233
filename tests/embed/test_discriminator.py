"""D's own features: the right ones, and D afterwards as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm
from torch.nn.utils.parametrizations import spectral_norm as parametrized_spectral_norm

from gandiag.embed import embed, features_of, fit
from gandiag.errors import ShapeError, UnknownName, UsageError


class Conv(nn.Module):
    """A DCGAN's discriminator with everything that a forward could change."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1),
            nn.BatchNorm2d(4),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Dropout(0.5),
            parametrized_spectral_norm(nn.Conv2d(4, 6, 3, stride=2, padding=1)),
            nn.Flatten(),
        )
        self.last = nn.Linear(24, 1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1  # whatever the mode
        noise = 0.0 * torch.randn(1)
        return self.last(self.body(x)) + noise


def samples(n: int = 9) -> Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_by_default_they_are_what_the_last_layer_is_given() -> None:
    """The features of a batch equal those computed by hand in eval mode, and the note names the layer."""
    net = Conv()
    embedding = fit(samples(), embedder=features_of(net))
    expected = copy.deepcopy(net).eval().body(samples()).detach()
    torch.testing.assert_close(embedding(samples(), batch=4), expected)
    assert embedding.name == "discriminator"
    assert embedding.notes == ("samples are described by the input of D's layer 'last'",)


@pytest.mark.parametrize(
    "last",
    [
        nn.Linear(4, 1),
        spectral_norm(nn.Linear(4, 1)),
        parametrized_spectral_norm(nn.Linear(4, 1)),
        nn.Bilinear(4, 4, 1),
    ],
    ids=["plain", "spectral_norm", "parametrized", "other"],
)
def test_the_last_layer_is_found_however_its_weight_is_made(last: nn.Module) -> None:
    """A weight may be a parameter, or made of others by a norm."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), last

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x)
            return self.last(hidden, hidden) if isinstance(self.last, nn.Bilinear) else self.last(hidden)

    net, x = Net(), torch.randn(5, 3)
    torch.testing.assert_close(features_of(net)(x), net.first(x).detach())


def test_d_is_afterwards_as_it_was() -> None:
    """Modes (also of a module that is frozen alone), buffers, gradients, hooks and the global stream are untouched."""
    net = Conv().train()
    net.body[1].eval()
    net.last(torch.randn(2, 24)).sum().backward()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    gradient = net.last.weight.grad.clone()
    modes = [module.training for module in net.modules()]
    state = torch.get_rng_state()

    found = features_of(net)(samples().requires_grad_())

    assert not found.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(net.last.weight.grad, gradient)
    assert net.body[0].weight.grad is None
    assert [module.training for module in net.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_d_is_as_it_was_after_an_error_too() -> None:
    """Samples that D cannot take leave no hook and no eval mode behind."""
    net = Conv().train()
    with pytest.raises(RuntimeError):
        features_of(net)(torch.randn(2, 5, 8, 8))
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_a_graph_that_waits_for_its_backward_is_not_disturbed() -> None:
    """Embedding between D's forward and its backward changes nothing about the gradients."""
    net, x = Conv().train(), samples()
    twin = copy.deepcopy(net)
    torch.manual_seed(0)
    loss = net(x).sum()
    features_of(net)(x)
    loss.backward()
    torch.manual_seed(0)
    twin(x).sum().backward()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("by_name", [True, False])
def test_another_layer_by_its_output(by_name: bool) -> None:
    """`layer=` takes a name or a module and gives its output, before what follows works on it in place."""
    net = Conv().eval()
    found = features_of(net, layer="body.1" if by_name else net.body[1])(samples())
    expected = net.body[1](net.body[0](samples())).flatten(1).detach()
    torch.testing.assert_close(found, expected)
    assert found.min() < 0


def test_features_with_many_positions_are_averaged_and_it_is_said() -> None:
    """A patch discriminator's 16 x 32 x 32 features become 16."""
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
    x = torch.randn(3, 1, 32, 32)
    embedding = fit(x, embedder=features_of(net))
    torch.testing.assert_close(embedding(x), net[:2](x).mean(dim=(2, 3)).detach())
    assert "16,384 numbers were averaged" in embedding.notes[-1]


@pytest.mark.parametrize("wrap", ["parallel", "compiled"])
def test_what_wraps_d_is_looked_through(wrap: str) -> None:
    """DataParallel and compiled nets hide the layers of the one inside."""
    net = Conv()
    if wrap == "parallel":
        outer: nn.Module = nn.DataParallel(net)
    else:
        outer = nn.Module()
        outer._orig_mod = net
    assert torch.equal(features_of(outer)(samples()), features_of(net)(samples()))


def test_what_cannot_be_done_is_said() -> None:
    """No module, unknown layers, integers, layers that are never reached, and the bare name."""
    net = Conv()
    with pytest.raises(UsageError, match=r"torch\.nn\.Module"):
        features_of(lambda x: x)
    with pytest.raises(UnknownName, match=r"Did you mean 'body\.0'"):
        features_of(net, layer="body_0")
    with pytest.raises(UnknownName, match="no layer of D"):
        features_of(net, layer=nn.Linear(2, 2))
    with pytest.raises(UsageError, match="trained on floats"):
        features_of(net)(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ShapeError, match="no layer with weights"):
        features_of(nn.Sequential(nn.Flatten(), nn.ReLU()))(samples())
    with pytest.raises(ShapeError, match="for 9 samples"):
        features_of(nn.Sequential(nn.Flatten(0), nn.Linear(9 * 64, 1)))(samples())
    for verb in (fit, embed):
        with pytest.raises(UsageError, match=r"features_of\(D\)"):
            verb(samples(), embedder="discriminator")
