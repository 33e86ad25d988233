"""Any two techniques go together, or are refused with the reason before a weight has moved."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
import torch
from helpers.gan_loops import assert_same, dcgan, script, watched
from helpers.kinds import KINDS, SOON

from gandiag.errors import TechniqueRefused
from gandiag.techniques import TECHNIQUES

#: Of some two thousand pairs, drawn once; a new technique changes the draw, so that in time all are tried.
DRAWN = 60
PAIRS = random.Random(5).sample(list(itertools.combinations(TECHNIQUES.names(), 2)), DRAWN)


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_two_techniques_compose(pair: tuple[str, str], tmp_path: Path) -> None:
    """On the first kind of nets that takes both: both act, all stays finite, and a second run ends the same.

    Where no kind takes both, each refusal says why and names one of the two. Running statistics may have moved then.
    """
    techniques = [SOON.get(name, name) for name in pair]
    reasons = []
    for i, kind in enumerate(KINDS):
        ends = []
        for again in range(2):
            s = script(g=kind.g, d=lambda kind=kind: kind.d(sigmoid=True), data=lambda kind=kind: kind.data(6))
            before = [p.detach().clone() for net in (s.g, s.d) for p in net.parameters()]
            try:
                run = watched(dcgan, s, techniques, tmp_path / f"{i}-{again}")
            except TechniqueRefused as error:
                reasons.append(str(error))
                if "more than once" not in reasons[-1]:  # reweighting has to look at the data first
                    after = [p for net in (s.g, s.d) for p in net.parameters()]
                    assert all(map(torch.equal, after, before))
                break
            assert min(run.interventions.counts.values()) >= 1, run.interventions.counts
            assert all(value.isfinite().all() for value in s.tensors().values())
            ends.append(s.tensors())
        if len(ends) == 2:
            assert_same(*ends)
            return
    assert len(reasons) == len(KINDS)
    assert all(any(name in reason for name in pair) for reason in reasons)
