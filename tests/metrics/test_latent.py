"""Latent sensitivity: the ratio against its definition, what it sees, and that asking changes nothing."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references.latent import latent_sensitivity as slow_latent_sensitivity
from torch import nn

from gandiag.errors import ShapeError, UsageError
from gandiag.metrics._latent import latent_sensitivity, latent_sensitivity_of

Z = 8


def latents(n: int = 200, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, Z, generator=torch.Generator().manual_seed(seed))


def linear(*, size: float = 1.0, offset: float = 0.0, outputs: int = 5):
    weight = size * torch.randn(Z, outputs, generator=torch.Generator().manual_seed(1))
    return lambda z: z @ weight.to(z.dtype) + offset


class Restless(nn.Module):
    """A generator that does all that a careless caller would be changed by."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(Z, 16), nn.BatchNorm1d(16), nn.Dropout(), nn.Linear(16, 4))
        self.layers[2].eval()  # one part is frozen by hand
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(1, Z), persistent=False)
        self.register_buffer("never", torch.ones(3))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last = z[:1].detach()
        noise = torch.randn(len(z), 4) + random.random() + np.random.rand()
        return self.layers(z) + noise


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(3, 12),
    order=st.sampled_from([1.0, 2.0, 3.0, float("inf")]),
    labelled=st.booleans(),
    referred=st.booleans(),
)
def test_equals_its_definition(seed, n, order, labelled, referred):
    """The mode seeking ratio over all pairs, of one condition or any, relative to outputs or to data."""
    rng = np.random.default_rng(seed)
    z, outputs = rng.normal(size=(n, 2, 2)), rng.normal(size=(n, 3, 2))
    labels = np.arange(n) % 2 if labelled else None
    reference = rng.normal(size=(7, 6)) if referred else None
    found = latent_sensitivity(
        z, outputs, order=order, reference=reference, labels=None if labels is None else torch.from_numpy(labels)
    )
    ratio, relative = slow_latent_sensitivity(z, outputs, labels=labels, reference=reference, order=order)
    assert found.ratio == pytest.approx(ratio, rel=1e-9)
    if labelled or referred:
        assert found.relative == pytest.approx(relative, rel=1e-9)
    else:
        assert math.isnan(found.relative)


def test_a_condition_alone_decides():
    """A conditional generator that ignores its latent: within a condition nothing differs, and the value is 0."""
    z, labels = latents(), torch.arange(200) % 4
    ignoring = latent_sensitivity(z, nn.functional.one_hot(labels, 4).float(), labels=labels)
    assert ignoring.ratio == ignoring.relative == 0.0
    following = latent_sensitivity(z, linear()(z) + labels[:, None], labels=labels)
    assert 0.5 < following.relative < 1.1


def test_recorded_pairs_are_bounded_and_drawn_by_seed():
    """No more pairs than asked for, the same ones for the same seed, and about the value of all of them."""
    z = latents(400)
    few, again, other = (latent_sensitivity(z, linear()(z), pairs=500, seed=seed) for seed in (0, 0, 1))
    assert few.pairs == 500
    assert few.ratio == again.ratio != other.ratio
    assert few.ratio == pytest.approx(latent_sensitivity(z, linear()(z), pairs=10**6).ratio, rel=0.05)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("order", [1.0, 2.0, float("inf")])
def test_a_linear_generator_has_one(size, order):
    """Relative to its own outputs, a linear generator is as sensitive nearby as afar, at any scale."""
    asked = latent_sensitivity_of(linear(size=size, offset=50 * size), latents().double(), order=order)
    assert asked.relative == pytest.approx(1, rel=0.15)
    assert asked.pairs == 200
    assert asked.latent_distance == pytest.approx(0.1 * asked.typical_latent)


def test_a_generator_that_ignores_its_latent_has_zero():
    """Also where its outputs are diverse by noise of its own, or by the condition, as recorded pairs cannot tell."""
    noise = latent_sensitivity_of(lambda z: torch.randn(len(z), 5), latents())
    assert noise.relative == noise.ratio == 0.0
    assert noise.typical_output > 0.5
    by_label = latent_sensitivity_of(lambda z, y: y[:, None].float(), latents(), torch.arange(200) % 3)
    assert by_label.relative == 0.0
    constant = latent_sensitivity_of(lambda z: torch.ones(len(z), 5), latents())
    assert constant.relative == 0.0


def test_a_weak_latent_among_strong_noise_is_small():
    """What part of the diversity comes from the latent is about the value that it has."""
    follow = linear()
    for part in (0.5, 0.05):
        draws = []
        for seed in range(10):  # one draw of the noise in sixty would read 1 % more than the part
            torch.manual_seed(seed)
            asked = latent_sensitivity_of(lambda z, part=part: part * follow(z) + 3 * torch.randn(len(z), 5), latents())
            draws.append(asked.relative)
        assert part / 6 < sum(draws) / len(draws) < part


def test_data_tell_a_collapse_to_a_point():
    """A trace of the latent left in one output reads like health among its own outputs, and like nothing among data."""
    collapsed = linear(size=1e-6, offset=1.0)
    z, real = latents(), linear()(latents(seed=5))
    assert latent_sensitivity_of(collapsed, z.double()).relative == pytest.approx(1, rel=0.15)
    assert latent_sensitivity_of(collapsed, z.double(), reference=real).relative < 1e-5
    assert latent_sensitivity(z, collapsed(z.double()), reference=real).relative < 1e-5
    assert latent_sensitivity_of(linear(), z, reference=real).relative == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("batch", [2, 7, 1000])
def test_batches_change_little(batch):
    """Rows are compared within their batch, with all conditions in step; any size of batch estimates the same."""
    z = latents(300)
    asked = latent_sensitivity_of(lambda z, y: linear()(z) * y, z, torch.ones(300, 1), batch=batch)
    assert asked.relative == pytest.approx(1, rel=0.2)
    assert asked.pairs == 300


def test_asking_changes_nothing():
    """Modes of each part, buffers and the tensors that hold them, gradients and three random streams stay."""
    generator = Restless().train()
    generator.layers[2].eval()
    modes = [part.training for part in generator.modules()]
    buffers = dict(generator.named_buffers())
    contents = {name: buffer.clone() for name, buffer in buffers.items()}
    untouched = generator.never._version
    streams = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    asked = latent_sensitivity_of(generator, latents().requires_grad_())
    assert asked.relative > 0
    assert [part.training for part in generator.modules()] == modes
    for name, buffer in generator.named_buffers():
        assert buffer is buffers[name]
        assert torch.equal(buffer, contents[name])
    assert generator.never._version == untouched
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert torch.equal(torch.get_rng_state(), streams[0])
    assert random.getstate() == streams[1]
    assert (np.random.get_state()[1] == streams[2]).all()


def test_asking_through_a_function_spares_the_module_behind_it():
    """A function around a module is asked in the module's evaluation mode where the module is named."""
    generator = Restless().train()
    mean = generator.layers[1].running_mean.clone()
    seen = []

    def wrapped(z):
        seen.append(generator.training)
        return (generator(z), "more")[0]

    latent_sensitivity_of(wrapped, latents(), module=generator)
    assert not any(seen)
    assert generator.training
    assert torch.equal(generator.layers[1].running_mean, mean)


def test_a_generator_that_fails_is_left_as_it_was():
    """An error inside it passes through, and modes and streams are put back first."""
    generator = Restless().train()
    stream = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        latent_sensitivity_of(generator, torch.randn(9, Z + 1, generator=torch.Generator().manual_seed(0)))
    assert generator.training
    assert float(generator.calls) == 0
    assert torch.equal(torch.get_rng_state(), stream)


def test_images_and_sequences_of_latents():
    """Latents and outputs of any shape are flattened row by row."""
    z = torch.randn(20, 3, 4, generator=torch.Generator().manual_seed(0))
    asked = latent_sensitivity_of(lambda z: 2 * z.reshape(-1, 1, 2, 6), z)
    assert asked.ratio == pytest.approx(2, rel=1e-5)


def test_what_cannot_be_asked_is_refused():
    """Wrong latents, outputs, conditions and numbers each say what is wanted."""
    z, follow = latents(), linear()
    with pytest.raises(ShapeError, match="returns one tensor"):
        latent_sensitivity_of(lambda z: (z, z), z)
    with pytest.raises(ShapeError, match="returns one tensor"):
        latent_sensitivity_of(lambda z: z[:1], z)
    with pytest.raises(ShapeError, match="NaN or infinity"):
        latent_sensitivity_of(lambda z: z / 0, z)
    with pytest.raises(ShapeError, match="floating-point"):
        latent_sensitivity_of(follow, torch.ones(5, Z, dtype=torch.int64))
    with pytest.raises(ShapeError, match="at least 2 rows"):
        latent_sensitivity_of(follow, z[:1])
    with pytest.raises(ShapeError, match="one for each"):
        latent_sensitivity_of(lambda z, y: z, z, torch.ones(3))
    with pytest.raises(ShapeError, match="data like outputs"):
        latent_sensitivity_of(follow, z, reference=np.ones((9, 4)))
    with pytest.raises(UsageError, match="step must be"):
        latent_sensitivity_of(follow, z, step=0.0)
    with pytest.raises(UsageError, match="order must be"):
        latent_sensitivity_of(follow, z, order=0.5)
    with pytest.raises(UsageError, match="give different ones"):
        latent_sensitivity_of(follow, torch.ones(9, Z))
    with pytest.raises(ShapeError, match="belong together"):
        latent_sensitivity(z, follow(z)[:9])
    with pytest.raises(ShapeError, match="one integer for each"):
        latent_sensitivity(z, follow(z), labels=torch.ones(3))
