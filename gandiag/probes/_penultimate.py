"""D's penultimate features: what its last layer is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from gandiag.loop.layers import multiplies


def watch_penultimate(net: nn.Module, keep: Callable[[Tensor], None]) -> Callable[[], None]:
    """Watch the layers of a call that is about to begin, by a global hook for its time.

    A hook on the module itself would travel with copies of it.

    Args:
        net: a discriminator; layers that techniques run beside its own are none of them.
        keep: called with the features, shape (n, f), detached.

    Returns:
        To be called when the call has ended.
    """
    last: list[Tensor] = []
    own = set(net.modules())

    def note(module: nn.Module, args: Any) -> None:
        mine = module in own or getattr(module, "_is_replica", False)  # DataParallel's replicas are new ones each time
        if mine and args and isinstance(args[0], Tensor) and multiplies(module):
            last[:] = [args[0]]

    handle = register_module_forward_pre_hook(note)

    def end() -> None:
        handle.remove()
        if last and last[0].ndim >= 2 and last[0].is_floating_point():
            keep(last[0].detach().flatten(1))

    return end
