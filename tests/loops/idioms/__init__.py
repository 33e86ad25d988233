"""Training loops as people write them, restated small. Each says the truth of every call of D itself.

An idiom is a public function `(steps, truth) -> dict`: it trains for `steps` rounds, counts each training call of D
in `truth` as (kind, phase), and returns what it trained. The keys say the roles: `g` and `g_*` are the generator's
nets, `d` and `d_*` the discriminator's, the rest (optimizers, averages) only has to stay the same bit for bit.

What is counted, where one could disagree:

- A call is counted for the step that used its gradient; a call that no step used is not counted, be it for want of a
  backward pass or because the gradients were zeroed before any step.
- A step that a GradScaler leaves out because of inf counts as if it had been done: the script asked for it.
- A step of an optimizer over both nets is D's, unless all that it used are fakes that hang on G's graph.
- A call that feeds two steps counts for the first.

Where labels hang on the sign of gradients, an idiom calls D on more reals than fakes or the other way round: with
equal counts two kinds that are swapped throughout would pass for right.

The folder is scanned: a new function in a module here is a new idiom.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from ._parts import Idiom, Truth

__all__ = ["IDIOMS", "Idiom", "Truth"]


def _scan() -> list[Idiom]:
    found: list[Idiom] = []
    for name in sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")):
        module = importlib.import_module(f"{__name__}.{name}")
        own = [f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__]
        found += [f for f in own if list(inspect.signature(f).parameters) == ["steps", "truth"]]
    return found


IDIOMS = _scan()
