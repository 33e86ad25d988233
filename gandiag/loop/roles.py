"""Which owner is the generator and which the discriminator."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from torch import nn

from gandiag.errors import RolesUnclear
from gandiag.loop.units import Owner, Units, names_in_main

_G_NAME = re.compile(r"(^|_)(net)?_?(g|gen|generator|decoder|mapping|synthesis)(_?net|_?model)?\d*$", re.I)
_D_NAME = re.compile(r"(^|_)(net)?_?(d|dis|disc|discriminator|critic)(_?net|_?model)?\d*$", re.I)


@dataclass
class Roles:
    """Who is who, and how surely.

    Attributes:
        g, d: the owners of the generators' and the discriminators' parameters.
        sure: whether the user said so.
        guessed: whether it is a guess from names and shapes so far.
        flow: how often an output of the first owner entered a net of the second.
        fed: the owners of nets that were given tensors which no net had made: latents, or data.
        learns: the flows along which a gradient can come back.
        inherited: optimizers were made anew, so that more owners have roles than flows have shown.
    """

    g: set[Owner] = field(default_factory=set)
    d: set[Owner] = field(default_factory=set)
    sure: bool = False
    guessed: bool = False
    flow: dict[tuple[Owner, Owner], int] = field(default_factory=dict)
    fed: set[Owner] = field(default_factory=set)
    learns: set[tuple[Owner, Owner]] = field(default_factory=set)
    inherited: bool = False

    @property
    def known(self) -> bool:
        """Whether both roles are filled."""
        return bool(self.g) and bool(self.d)

    def of(self, owner: Owner | None) -> str | None:
        """The role of an owner: "g", "d" or None."""
        if owner in self.g:
            return "g"
        return "d" if owner in self.d else None

    def saw_flow(self, source: Owner, target: Owner, *, learns: bool) -> bool:
        """Count one output of `source` that entered `target`; True if the roles have just changed.

        Args:
            source: whose output.
            target: whose input.
            learns: a gradient can come back.
        """
        if learns:
            self.learns.add((source, target))
        count = self.flow[source, target] = self.flow.get((source, target), 0) + 1
        if self.sure or (self.known and not self.guessed and count > 1):
            return False
        return self._decide()

    def saw_input(self, target: Owner) -> bool:
        """Note that a net of `target` was given something that no net had made; True if the roles have changed."""
        if target in self.fed:
            return False
        self.fed.add(target)
        return bool(self.flow) and not self.sure and self._decide()

    def forget(self) -> None:
        """Begin anew, unless the user has said who is who."""
        if not self.sure:
            self.g, self.d, self.guessed = set(), set(), False
            self.flow, self.fed, self.learns = {}, set(), set()

    def _decide(self) -> bool:
        """D is where data ends; G is whatever leads there.

        Of several ends, those that see data too: InfoGAN's Q, with an optimizer of its own, sees fakes alone and
        is no discriminator. Cycles (an autoencoder as D, whose reconstruction enters G) are cut where less flows.
        """
        # Two nets that undo each other: as much flows one way as the other, and nothing tells them apart. What was
        # taken for the answer at the first flow is none; and it takes more than the next one to bring it back.
        clear = 1 if self.known else 2
        one_way = {(a, b) for (a, b), n in self.flow.items() if n > clear * self.flow.get((b, a), 0)}
        ends = {b for _, b in one_way} - {a for a, _ in one_way}
        d = ends & self.fed or ends
        g = self._leading_to(d, {(a, b) for (a, b), n in self.flow.items() if n >= self.flow.get((b, a), 0)})
        if (g, d) == (self.g, self.d) or (self.inherited and g <= self.g and d <= self.d):
            return False
        if g and d:
            self.guessed = False
        elif self.guessed:
            return False
        self.g, self.d = g, d
        return True

    def keep_learners(self) -> bool:
        """After a whole round: G is what learns from D; True if somebody is out.

        An encoder that makes what is real for D, and learns for itself, feeds D too and is no generator.
        """
        if self.sure:
            return False
        learners = self._leading_to(self.d, self.learns)
        if not learners or not self.g - learners:
            return False
        self.g &= learners
        return True

    @staticmethod
    def _leading_to(ends: set[Owner], edges: set[tuple[Owner, Owner]]) -> set[Owner]:
        found: set[Owner] = set()
        reached = set(ends)
        while reached:
            reached = {a for a, b in edges if b in reached} - found
            found |= reached
        return found - ends

    def confidence(self) -> float:
        """How surely the roles are known, 0..1: the share of agreeing flows, less for few of them."""
        if self.sure:
            return 1.0
        if not self.known:
            return 0.0
        agree = sum(n for (a, b), n in self.flow.items() if a in self.g and b in self.d)
        against = sum(n for (a, b), n in self.flow.items() if a in self.d and b in self.g)
        if agree + against == 0:
            return 0.3  # a guess from names and shapes alone
        return round(agree / (agree + against) * (1 - 0.5 ** (agree + against)), 4)


def by_hint(units: Units, *, generator: str | None, discriminator: str | None) -> tuple[set[Owner], set[Owner]] | None:
    """Roles from the names that the user gave: a class name, or a global variable of the script."""
    g = _named(units, generator) if generator else set()
    d = _named(units, discriminator) if discriminator else set()
    owners = set(units.owners())
    if g and not d and len(owners - g) == 1:
        d = owners - g
    if d and not g and len(owners - d) == 1:
        g = owners - d
    return (g, d) if g and d and not g & d else None


def guess(units: Units) -> tuple[set[Owner], set[Owner]] | None:
    """Roles from names and shapes, before any data has flowed; None unless everything agrees.

    Two cues: names (class or global variable) that say generator or discriminator, and the shapes: D ends
    in a score and begins with as many features as G ends with.
    """
    owners = units.owners()
    if len(owners) != 2:
        return None
    first, second = owners
    votes = 0
    for a, b, sign in ((first, second, 1), (second, first, -1)):
        votes += sign * (_says(units, a, _G_NAME, "gen") + _says(units, b, _D_NAME, "disc", "critic"))
        a_ends, b_ends, b_begins = _last_width(units, a), _last_width(units, b), _first_width(units, b)
        if b_ends == 1 and a_ends != 1 and a_ends == b_begins:
            votes += sign * 2
    if abs(votes) < 2:
        return None
    g, d = (first, second) if votes > 0 else (second, first)
    return {g}, {d}


def question(units: Units) -> RolesUnclear:
    """One clear question that names the candidates and the flags that answer it."""
    rows = []
    for owner in units.owners():
        for unit in units.maximal(owner):
            names = names_in_main(unit)
            known_as = f" (variable {', '.join(names)})" if names else ""
            rows.append(f"{type(unit).__name__}{known_as}, {sum(p.numel() for p in unit.parameters()):,} parameters")
    return RolesUnclear(
        "which net is the generator and which the discriminator could not be told from the data that flowed. "
        f"Candidates: {'; '.join(rows) or 'none with optimised parameters'}. "
        "Say it with --generator NAME --discriminator NAME (a class name or a global variable of the script), "
        "or call gandiag.watch(generator, discriminator) in the script."
    )


def _named(units: Units, name: str) -> set[Owner]:
    return {
        owner
        for owner in units.owners()
        for unit in units.maximal(owner)
        for sub in unit.modules()
        if type(sub).__name__ == name or name in names_in_main(sub)
    }


def _says(units: Units, owner: Owner, pattern: re.Pattern[str], *words: str) -> int:
    for unit in units.maximal(owner):
        names = [type(unit).__name__, *names_in_main(unit)]
        if any(pattern.search(name) or any(word in name.lower() for word in words) for name in names):
            return 1
    return 0


def _layers(units: Units, owner: Owner) -> list[nn.Module]:
    layers = []
    for unit in units.maximal(owner):
        for module in unit.modules():
            weight = getattr(module, "weight", None)
            if not list(module.children()) and weight is not None and weight.ndim >= 2:
                layers.append(module)
    return layers


def _first_width(units: Units, owner: Owner) -> int | None:
    layers = _layers(units, owner)
    return _width(layers[0], "in_features", "in_channels") if layers else None


def _last_width(units: Units, owner: Owner) -> int | None:
    layers = _layers(units, owner)
    return _width(layers[-1], "out_features", "out_channels") if layers else None


def _width(layer: nn.Module, *names: str) -> int | None:
    for name in names:
        value = getattr(layer, name, None)
        if isinstance(value, int):
            return value
    return None
