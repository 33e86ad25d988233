"""Arms: the sets of techniques that are tried against each other. The control arm is always the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gandiag.techniques import TECHNIQUES, as_text, parse

CONTROL = "control"


@dataclass(frozen=True)
class Arm:
    """One set of techniques.

    Attributes:
        name: names its folders; `control`, or the techniques joined with `+`.
        techniques: everything that is switched on, as `r1:gamma=0.1`. A run that was recorded with techniques
            keeps them in each arm, the control too: the question is what to add to it.
        treats: codes of the findings that it is meant for.
    """

    name: str
    techniques: tuple[str, ...] = ()
    treats: tuple[str, ...] = ()

    @property
    def cost(self) -> float:
        """Time of one training step over that of a recorded one without techniques, estimated from the cards."""
        return 1.0 + sum(parse(text).card.cost - 1.0 for text in self.techniques)

    def to_json(self) -> list[dict[str, Any]]:
        """`[{"name", "params"}]`."""
        return [{"name": made.card.name, "params": made.params()} for made in map(parse, self.techniques)]


def choose_arms(recommendations: Iterable[Mapping[str, Any]], *, recorded: Sequence[Mapping[str, Any]]) -> list[Arm]:
    """The control arm, then one arm for each recommendation, in their order.

    Args:
        recommendations: of the diagnosis, best first, as in its JSON form.
        recorded: the techniques that the recorded run had on, `[{"name", "params"}]`.
    """
    base = _texts(recorded)
    arms = [Arm(CONTROL, base)]
    for recommendation in recommendations:
        added = _texts(recommendation["techniques"])
        techniques = (*_compatible(base, added), *added)
        if added and techniques not in [arm.techniques for arm in arms]:
            name = _free_name("+".join(_name(text) for text in added), taken=[arm.name for arm in arms])
            arms.append(Arm(name, techniques, tuple(recommendation["treats"])))
    return arms


def _texts(techniques: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(as_text(each["name"], each["params"]) for each in techniques)


def _name(text: str) -> str:
    return parse(text).card.name


def _compatible(base: Sequence[str], added: Sequence[str]) -> list[str]:
    """What of `base` can stay when `added` is switched on: no technique twice, and none in conflict."""
    names = {_name(text) for text in added}
    conflicts = {conflict for name in names for conflict in TECHNIQUES[name].card.conflicts}
    return [
        text
        for text in base
        if _name(text) not in names | conflicts and not names & set(TECHNIQUES[_name(text)].card.conflicts)
    ]


def _free_name(name: str, *, taken: Sequence[str]) -> str:
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbered) if each not in taken)
