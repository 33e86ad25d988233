"""What nets are given beside samples or latents, such as labels, row by row.

A technique that has G make samples of its own and asks D of them must show D the labels that G was given for them, not
those of whatever batch D last saw. Which of D's arguments are G's is found once, by value, where D judges a batch that
G has made: from then on they are taken from the call of G that is made anew.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gandiag.errors import TechniqueRefused
from gandiag.interventions.arguments import map_tensors, samples
from gandiag.interventions.pairs import Pair
from gandiag.loop import Call


class Companions:
    """Of each D, which of G's arguments its own are."""

    def __init__(self) -> None:
        self._sources: dict[int, list[int]] = {}

    def learn(self, pair: Pair, made: Sequence[Call]) -> None:
        """Look at D's call on a fake batch, and at the call of G that has made it, until D's arguments are found.

        Not at each step: to compare values is to wait for the device.

        Args:
            pair: what D has just seen.
            made: the last call of each G, for fakes that were found by value: then nothing else is known of their call.
        """
        of_d = beside(pair.fake_call) if id(pair.fake_call.unit) not in self._sources else []
        if not of_d:
            return
        for call in [*(t.call for t in pair.fake_call.sources if t is not None), *made]:
            of_g = _given(call)
            places = [place for x in of_d if (place := _place(x, of_g)) is not None]
            if len(places) == len(of_d):
                self._sources[id(pair.fake_call.unit)] = places
                return

    def of_g(self, name: str, d_call: Call, g_call: Call) -> Call:
        """D's call as it would be on what this call of G makes.

        Raises:
            TechniqueRefused: D is given something for each sample that G is not; `name` is who wants to know.
        """
        of_d = beside(d_call)
        if not of_d:
            return d_call
        sources, of_g = self._sources.get(id(d_call.unit), []), _given(g_call)
        if len(sources) != len(of_d) or max(sources) >= len(of_g):
            raise TechniqueRefused(
                f"{name} has G make samples of its own for D to judge, and {type(d_call.unit).__name__} is given "
                f"something beside each sample (labels, a condition) that is none of {type(g_call.unit).__name__}'s "
                "own arguments as they stand, so nobody knows what to give it here; turn on r1, lecam or "
                "spectral_norm, or write it into the script"
            )
        swapped = {id(old): of_g[place] for old, place in zip(of_d, sources, strict=True)}
        call = copy.copy(d_call)
        call.args, call.kwargs = map_tensors((tuple(d_call.args), dict(d_call.kwargs)), lambda x: swapped.get(id(x), x))
        return call


def beside(call: Call) -> list[Tensor]:
    """The tensors among a call's arguments that have a row for each of its samples, without these."""
    x = samples(call.args, call.kwargs)
    found: list[Tensor] = []

    def note(value: Tensor) -> Any:
        if x is not None and value is not x and value.ndim >= 1 and len(value) == len(x):
            found.append(value)
        return value

    if len(call.args) + len(call.kwargs) > 1 or type(next(iter(call.args), None)) is not Tensor:
        map_tensors((tuple(call.args), dict(call.kwargs)), note)
    return found


def _given(call: Call) -> list[Tensor]:
    """All that G was given: what stands where D's labels do may be G's input itself, as in translating pictures."""
    x = samples(call.args, call.kwargs)
    return [*([] if x is None else [x]), *beside(call)]


def _place(x: Tensor, among: list[Tensor]) -> int | None:
    """Where a tensor of the same values is."""
    alike = (
        place
        for place, other in enumerate(among)
        if other.shape == x.shape and other.dtype == x.dtype and other.device == x.device and torch.equal(other, x)
    )
    return next(alike, None)
