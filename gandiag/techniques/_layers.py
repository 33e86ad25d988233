"""Which of a net's layers a technique acts on, for techniques that act inside networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.techniques._given import Inside

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)

Act: TypeAlias = Callable[[nn.Module, Tensor, Callable[[Tensor], Tensor]], Tensor]
"""What a technique makes of a layer: from the layer, its input, and its forward."""


class Wiring:
    """The linear and convolutional layers of one net, and which of them feed which.

    A net's attributes tell neither in which order its layers run nor what lies between them, and activations are often
    plain functions. So it is read off one forward, by asking autograd what each layer's input was made of.

    Args:
        name: of the technique, for its error.
        net: a generator or a discriminator.

    Attributes:
        fed: layers whose input comes from another layer: all but the first ones.
        feeding: layers whose output goes to another layer: all but the last ones.
    """

    def __init__(self, name: str, net: nn.Module) -> None:
        self.fed: set[nn.Module] = set()
        self.feeding: set[nn.Module] = set()
        self._name = name
        self._net = net
        self._outputs: list[tuple[nn.Module, Tensor]] | None = None
        self._read = False

    def layers(self, act: Act) -> dict[nn.Module, Inside]:
        """What `Technique.inside` returns, for `act` at each layer."""
        return {layer: self._inside(layer, act) for layer in self._net.modules() if isinstance(layer, LAYERS)}

    def read(self, args: Any, kwargs: Any, run: Callable[..., Any]) -> bool:
        """Read it off one forward, at the first call alone; call it from `Technique.before`.

        Returns:
            Whether this was the first call. It is made in a trial, which leaves no trace in buffers and streams.

        Raises:
            TechniqueRefused: no layer feeds another.
        """
        if self._read:
            return False
        self._read, self._outputs = True, []
        try:
            with torch.inference_mode(False), torch.enable_grad():
                run(*detached(args), **detached(kwargs))
        finally:
            self._outputs = None
        if not self.fed:
            raise TechniqueRefused(
                f"{self._name} acts between the layers of a net, and in {type(self._net).__name__} no linear or "
                "convolutional layer feeds another (it may use torch.nn.functional with its own parameters); write it "
                "into the script"
            )
        return True

    def _inside(self, layer: nn.Module, act: Act) -> Inside:
        return lambda x, forward: (self._note if self._outputs is not None else act)(layer, x, forward)

    def _note(self, layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        outputs = self._outputs
        assert outputs is not None
        if x.requires_grad and outputs:
            found = torch.autograd.grad(x.sum(), [out for _, out in outputs], retain_graph=True, allow_unused=True)
            sources = [other for (other, _), gradient in zip(outputs, found, strict=True) if gradient is not None]
            self.feeding.update(sources)
            self.fed.update([layer] if sources else [])
        # Cut here, so that a layer is fed by its neighbours alone; a copy, as the activation may work in place.
        output = forward(x).detach().requires_grad_()
        outputs.append((layer, output))
        return output.clone()


def detached(value: Any) -> Any:
    """Arguments of a call, copied, without a graph."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) in (list, tuple):
        return type(value)(detached(item) for item in value)
    if type(value) is dict:
        return {key: detached(item) for key, item in value.items()}
    return value


def batch_norms(name: str, net: nn.Module) -> list[_BatchNorm]:
    """A net's batch-normalisation layers, for a technique that changes them.

    Raises:
        TechniqueRefused: there is none.
    """
    found = [layer for layer in net.modules() if isinstance(layer, _BatchNorm)]
    if not found:
        raise TechniqueRefused(
            f"{name} changes batch normalisation into another one, and {type(net).__name__} holds no BatchNorm layer; "
            "say with role=g, role=d or role=both in which net they are; if in none, use spectral_norm or batch_norm"
        )
    return found


def in_role(asked: str, role: str) -> bool:
    """Whether a technique whose parameter `role` is `asked` acts on nets of this role."""
    return asked in (role, "both")


def check_role(name: str, role: str) -> None:
    """Raise UsageError unless it is a role."""
    if role not in ("g", "d", "both"):
        raise UsageError(f"technique {name!r}: role must be g, d or both, got {role!r}")
