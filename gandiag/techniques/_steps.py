"""What the techniques share that do the optimizer's step themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gandiag.errors import UsageError

ROLES: dict[str, tuple[str, ...]] = {"both": ("d", "g"), "d": ("d",), "g": ("g",)}

#: What the script asks its own optimizer for and another one can do as well; the last is what makes AdamW of Adam,
#: and nothing to the others.
KEPT = ("weight_decay", "maximize", "decoupled_weight_decay")

Groups = list[dict[str, Any]]


def check_which(name: str, which: str) -> None:
    """Raise UsageError unless `which` names one of the players, or both."""
    if which not in ROLES:
        raise UsageError(f"technique {name!r}: which must be both, d or g, got {which!r}")


def check_rate(name: str, lr: float) -> None:
    """Raise UsageError unless `lr` is a learning rate, or 0 for the script's own."""
    if not 0 <= lr < float("inf"):
        raise UsageError(f"technique {name!r}: lr must be above zero, or 0 for the script's own, got {lr}")


def check_betas(name: str, beta1: float, beta2: float, eps: float) -> None:
    """Raise UsageError unless these are Adam's."""
    for key, value in (("beta1", beta1), ("beta2", beta2)):
        if not 0 <= value < 1:
            raise UsageError(f"technique {name!r}: {key} must lie in [0, 1), got {value}")
    if not 0 < eps < float("inf"):
        raise UsageError(f"technique {name!r}: eps must be above zero, got {eps}")


@dataclass
class Instead:
    """One of torch's optimizers, that steps whatever parameter groups the script's optimizer has at this step.

    Attributes:
        make: from parameter groups to the optimizer.
    """

    make: Callable[[Groups], Optimizer]
    _optimizer: Optimizer | None = field(default=None, init=False)

    def step(self, groups: Groups, *, lr: float) -> None:
        """One step with the rate `lr`, or the script's where it is 0; a script's schedule is then followed."""
        own = [
            {
                "params": group["params"],
                "lr": lr if lr > 0 else group["lr"],
                **{k: group[k] for k in KEPT if k in group},
            }
            for group in groups
        ]
        if self._optimizer is None:
            self._optimizer = self.make(own)
        else:
            # Set anew, as a script may change rates, add groups or have several optimizers; states go by parameter.
            self._optimizer.param_groups = [{**self._optimizer.defaults, **group} for group in own]
        self._optimizer.step()


@dataclass
class Moments:
    """Adam's running moments, for algorithms that move along its direction in ways of their own.

    Source: Kingma and Ba 2015, arXiv:1412.6980, Algorithm 1.
    """

    beta1: float
    beta2: float
    eps: float
    _states: dict[nn.Parameter, tuple[int, Tensor, Tensor]] = field(default_factory=dict, init=False)

    def direction(self, p: nn.Parameter, gradient: Tensor) -> Tensor:
        """Take one more gradient in, and give m / (sqrt(v) + eps), both corrected for their bias, shape of `p`."""
        t, m, v = self._states.get(p) or (0, torch.zeros_like(p), torch.zeros_like(p))
        m.lerp_(gradient, 1 - self.beta1)
        v.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        t += 1
        self._states[p] = (t, m, v)
        m_hat, v_hat = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
        return m_hat / (v_hat.sqrt() + self.eps)


@dataclass
class Descent:
    """How a group descends.

    Attributes:
        gradient: what it descends along.
        lr: its rate.
        shrink: what the parameter is multiplied by before it moves; not 1 only where weight decay is decoupled.
    """

    gradient: Tensor
    lr: float | Tensor
    shrink: float | Tensor = 1.0


def descents(groups: Groups, *, lr: float) -> Iterator[tuple[nn.Parameter, Descent]]:
    """Each parameter that has a gradient, and how its group descends; `lr` is above zero, or 0 for the group's own."""
    for group in groups:
        rate, decay = lr if lr > 0 else group["lr"], group.get("weight_decay", 0)
        for p in group["params"]:
            if p.grad is not None:
                gradient = -p.grad if group.get("maximize") else p.grad
                if group.get("decoupled_weight_decay"):  # AdamW's (Loshchilov and Hutter 2019, arXiv:1711.05101)
                    yield p, Descent(gradient, rate, 1 - rate * decay)
                else:
                    yield p, Descent(gradient.add(p, alpha=decay) if decay else gradient, rate)
