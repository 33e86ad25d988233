"""Finding things by scanning their folder, so that no list is kept by hand.

A *room* is a package in which each public module defines one thing (a probe, a metric, an analyzer, a
technique, an embedder) and registers it with a decorator. The first read of the registry imports every
module of the room; names that start with an underscore and the module `base` are skipped.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from gandiag.errors import GandiagError, UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """The things of one room, by name.

    Args:
        kind: what one thing is called in messages, such as "technique".
        room: the package whose modules register them, such as "gandiag.techniques".
    """

    def __init__(self, kind: str, room: str) -> None:
        self.kind = kind
        self.room = room
        self._things: dict[str, T] = {}
        self._homes: dict[str, str] = {}
        self._scanned = False

    def add(self, name: str, thing: T, *, home: str) -> None:
        """Register `thing`; two things with one name are an error that names both homes."""
        other = self._homes.get(name)
        if other is not None and other != home:
            raise GandiagError(f"two {self.kind}s are named {name!r}: {other} and {home}; rename one")
        self._things[name] = thing
        self._homes[name] = home

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that adds what it decorates under `name` and returns it unchanged."""

        def decorate(thing: T) -> T:
            self.add(name, thing, home=str(getattr(thing, "__module__", self.room)))
            return thing

        return decorate

    def names(self) -> list[str]:
        """All names, sorted."""
        self._scan()
        return sorted(self._things)

    def home(self, name: str) -> str:
        """The module that registered `name`."""
        self[name]
        return self._homes[name]

    def __getitem__(self, name: str) -> T:
        self._scan()
        try:
            return self._things[name]
        except KeyError:
            raise UnknownName.of(self.kind, name, self._things) from None

    def __contains__(self, name: object) -> bool:
        self._scan()
        return name in self._things

    def __iter__(self) -> Iterator[T]:
        self._scan()
        return iter([self._things[name] for name in sorted(self._things)])

    def __len__(self) -> int:
        self._scan()
        return len(self._things)

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True  # before the imports: a room's module may read the registry itself
        try:
            package = importlib.import_module(self.room)
            for info in pkgutil.iter_modules(package.__path__):
                if not info.name.startswith("_") and info.name != "base":
                    importlib.import_module(f"{self.room}.{info.name}")
        except BaseException:
            self._scanned = False  # a room that failed to load once must not pass for a smaller room later
            raise
