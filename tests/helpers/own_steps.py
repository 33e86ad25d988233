"""For techniques that do the optimizer's step themselves, and keep what it remembers to themselves."""

from __future__ import annotations

from helpers.gan_loops import Script
from torch import Tensor
from torch.optim import Optimizer


def weights(s: Script) -> dict[str, Tensor]:
    """What training has made of the nets; the script's own optimizers have no states where they never step."""
    return {name: value for name, value in s.tensors().items() if not name.startswith("optimizer")}


def rate(optimizer: Optimizer) -> float:
    """The learning rate of an optimizer with one group."""
    (group,) = optimizer.param_groups
    return float(group["lr"])
