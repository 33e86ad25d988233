"""`duplicates` against pairs of rows, and the failures it is for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references.duplicates import duplicates as slow_duplicates
from references.mixtures import mixture, ring

from gandiag.errors import UsageError
from gandiag.metrics import METRICS, duplicates


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 25), m=st.integers(2, 25), closeness=st.floats(0, 2))
def test_equals_the_definition(seed, n, m, closeness):
    """Both shares are those of the definition computed pair by pair, with copies among the rows."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    fake[: m // 3] = fake[-1]
    fake[m // 3 : m // 2] = real[0]
    found = duplicates(real=real, fake=fake, closeness=closeness)
    assert (found.within_fake, found.of_real) == slow_duplicates(real, fake, closeness)


@pytest.mark.parametrize("offset", [0, 1000])
def test_one_output_only(offset):
    """All fakes alike: every one repeats another, whatever the offset."""
    real, _ = mixture(300, 64)
    found = duplicates(real=real + offset, fake=np.ones((100, 64)) + offset)
    assert found.within_fake == 1.0
    assert found.of_real == 0.0


def test_fifty_outputs_are_seen_and_missing_modes_are_none():
    """A support of 50 points reads 1; ten missing modes, or modes of half the spread, read 0 as data do."""
    real, _ = mixture(500, 64)
    assert duplicates(real=real, fake=np.repeat(mixture(50, 64, seed=1)[0], 10, axis=0)).within_fake == 1.0
    for fake in (mixture(500, 64, seed=1)[0], mixture(500, 64, seed=1, kept=15)[0], mixture(500, 64, std=0.25)[0]):
        assert duplicates(real=real, fake=fake).within_fake == 0.0


def test_memorised_data_are_seen():
    """Fakes that are data with a little noise repeat the data, and not each other."""
    real, _ = mixture(400, 64)
    fake = real[:200] + 0.01 * np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    found = duplicates(real=real, fake=fake)
    assert (found.within_fake, found.of_real) == (0.0, 1.0)
    assert METRICS["copies"](real=real, fake=fake) == 1.0


def test_the_share_of_chance_in_two_dimensions():
    """In a plane chance makes about 3 % of independent samples repeat each other, as the docs say."""
    found = duplicates(real=ring(2000)[0], fake=ring(2000, seed=1)[0])
    assert 0.01 < found.within_fake < 0.05


def test_data_that_repeat_themselves():
    """Where most reals have a copy, the radius is 0 and only exact repetitions count."""
    real = np.repeat(np.arange(20.0), 3)[:, None]
    found = duplicates(real=real, fake=[[0.0], [0.0], [1e-3], [50.0]])
    assert found.radius == pytest.approx(0, abs=1e-6)
    assert (found.within_fake, found.of_real) == (0.5, 0.5)


def test_a_negative_closeness_is_refused():
    """No distance is below 0."""
    with pytest.raises(UsageError, match="closeness"):
        duplicates(real=np.eye(3), fake=np.eye(3), closeness=-0.1)
