"""Feature matching: G matches the mean of D's features on real samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.gan_loops import CASES, STYLES, Hand, Script, assert_same, net_for, script, train, watched
from torch import Tensor

from gandiag.techniques.feature_matching import feature_gap


def test_the_gap_is_the_squared_distance_of_the_means() -> None:
    """Means (0, 0) and (3, 4) are 25 apart, whatever the spread and the numbers of rows."""
    real = torch.tensor([[1.0, -2.0], [-1.0, 2.0]])
    fake = torch.tensor([[3.0, 4.0], [2.0, 4.0], [4.0, 4.0]])
    assert feature_gap(real=real, fake=fake) == 25


class ByHand(Hand):
    """The gap of D's penultimate features is added to G's loss."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def g_term(self, s: Script, *, real: Tensor | None, fake: Tensor) -> Tensor | None:
        if real is None:  # a loop that steps G first: gandiag has seen no real batch yet
            return None
        gap = s.d.features(real).detach().mean(0) - s.d.features(fake).mean(0)
        return self.weight * gap.square().sum()


@pytest.mark.parametrize(("style", "optimizer"), CASES)
def test_equals_the_hand_written_loop(style: str, optimizer: object, tmp_path: Path) -> None:
    """Bit for bit: G's gradient is a sum of two at D's input, and a sum of two has no order."""
    ours, theirs = (script(d=net_for(style), optimizer=optimizer) for _ in range(2))
    watched(STYLES[style], ours, ["feature_matching:weight=0.7"], tmp_path)
    train(STYLES[style], theirs, ByHand(0.7))
    assert_same(ours.tensors(), theirs.tensors())
