"""Who plays what: the nets and the optimizers of each role, as far as they are known."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer

from gandiag.loop import roles as roles_
from gandiag.loop.roles import Roles
from gandiag.loop.units import Owner, Units, live_modules

_GIVEN_G, _GIVEN_D = frozenset({-1}), frozenset({-2})  # owners that no optimizer's id can equal


class Cast:
    """The units, their roles, and the role of each optimizer.

    Args:
        generator, discriminator: the nets, where the user gives them; else they are inferred.
        generator_name, discriminator_name: hints, see `roles.by_hint`.
    """

    def __init__(
        self,
        *,
        generator: nn.Module | Iterable[nn.Module] | None,
        discriminator: nn.Module | Iterable[nn.Module] | None,
        generator_name: str | None,
        discriminator_name: str | None,
    ) -> None:
        self.units = Units()
        self.roles = Roles()
        self._given = (_modules(generator), _modules(discriminator))
        self._hints = (generator_name, discriminator_name)
        self._answers: dict[int, tuple[int, str | None]] = {}
        self._table: dict[int, str] = {}
        self._table_version = -1

    def nets(self, role: str) -> list[nn.Module]:
        """The outermost units of a role."""
        owners = self.roles.g if role == "g" else self.roles.d
        return [unwrapped(unit) for owner in owners for unit in self.units.maximal(owner)]

    def optimizers(self, role: str) -> list[Optimizer]:
        """The optimizers of a role, in the order in which they were made."""
        return [o for o in self.units.optimizers() if self.role(o) == role]

    def role(self, optimizer: Optimizer) -> str | None:
        """Whose parameters an optimizer holds: "g", "d", "both", or None."""
        count = sum([len(group["params"]) for group in optimizer.param_groups])
        known = self._answers.get(id(optimizer))
        if known is not None and known[0] == count:
            return known[1]
        mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
        found = [role for role in ("g", "d") if mine & self._parameters(role)]
        answer = "both" if len(found) == 2 else (found[0] if found else None)
        if self.roles.known:
            self._answers[id(optimizer)] = (count, answer)
        return answer

    def role_of_parameter(self, parameter: object) -> str | None:
        """Whose parameter it is, "g" or "d"; None for anything else."""
        if self._table_version != self.units.version or not self._table:
            self._table = {}
            for role in ("g", "d"):
                self._table.update(dict.fromkeys(self._parameters(role), role))
            self._table_version = self.units.version
        return self._table.get(id(parameter))

    def learn(self, optimizer: Optimizer) -> bool:
        """Take note of an optimizer and rebuild the units; True if the roles have become known by it."""
        before = {role: self._parameters(role) for role in ("g", "d")}
        self.units.add_optimizer(optimizer)
        self._answers.clear()
        if all(self._given):
            return self.use_given() if not self.roles.known else False
        was_split = self.units.is_split
        self.units.scan()
        if was_split != self.units.is_split:  # the parts of one net, which had been taken for nets
            self.roles.forget()
        elif any(before.values()):  # optimizers made anew hold the same parameters under a new owner
            self._inherit(before)
        if any(self._hints) and not self.roles.known:
            found = roles_.by_hint(self.units, generator=self._hints[0], discriminator=self._hints[1])
            if found is not None:
                self.roles.g, self.roles.d, self.roles.sure = found[0], found[1], True
                return True
        return False

    def use_given(self) -> bool:
        """Cast the nets that the user named, if both are given; True if that is news."""
        if not all(self._given):
            return False
        first = not self.roles.known
        for modules, owner in zip(self._given, (_GIVEN_G, _GIVEN_D), strict=True):
            for module in modules:
                self.units.force(module, owner)
        self.units.apply_forced(list(live_modules()))
        self.roles.g, self.roles.d, self.roles.sure = {_GIVEN_G}, {_GIVEN_D}, True
        return first

    def decide_now(self) -> None:
        """Guess the roles before any data has flowed, or raise RolesUnclear with the question to ask."""
        found = roles_.guess(self.units)
        if found is None:
            raise roles_.question(self.units)
        self.roles.g, self.roles.d, self.roles.guessed = found[0], found[1], True

    def split(self) -> bool:
        """Tell the nets apart where one optimizer holds them all; True if that has made a difference."""
        self._answers.clear()
        return not self.roles.known and self.units.split()

    def rescan(self) -> None:
        """Look again for nets: some are wrapped (DDP, torch.compile) after their optimizers were made."""
        before = {role: self._parameters(role) for role in ("g", "d")}
        self._answers.clear()
        if all(self._given):
            self.use_given()
            return
        self.units.scan()
        self._inherit(before)

    def changed(self) -> None:
        """The roles have changed: forget which optimizer and which parameter has which."""
        self._answers.clear()
        self._table.clear()

    def _parameters(self, role: str) -> set[int]:
        return {id(p) for net in self.nets(role) for p in net.parameters()}

    def _inherit(self, before: dict[str, set[int]]) -> None:
        """Give the roles to the new owners of the parameters that had them.

        The old owners keep theirs: calls and outputs of the nets when they were owned so are still about.
        """
        known = self.roles.g | self.roles.d
        self.roles.g |= self._owners_of(before["g"])
        self.roles.d |= self._owners_of(before["d"]) - self.roles.g
        self.roles.inherited = self.roles.inherited or (self.roles.g | self.roles.d) != known

    def _owners_of(self, parameters: set[int]) -> set[Owner]:
        return {
            owner
            for owner in self.units.owners()
            for unit in self.units.maximal(owner)
            if any(id(p) in parameters for p in unit.parameters())
        }


def _modules(given: nn.Module | Iterable[nn.Module] | None) -> list[nn.Module]:
    if given is None:
        return []
    return [given] if isinstance(given, nn.Module) else list(given)


def unwrapped(net: nn.Module) -> nn.Module:
    """The user's own net inside DataParallel, DDP, FSDP or torch.compile."""
    while True:
        inner = {"OptimizedModule": "_orig_mod"}.get(type(net).__name__, "module")
        found = net._modules.get(inner)
        if found is None or not type(net).__module__.startswith(("torch.", "lightning.", "accelerate.")):
            return net
        net = found
