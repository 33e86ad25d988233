"""The arguments and the outputs of a call: where its samples are, and the same call with others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from gandiag.loop.calls import leaves


def first_leaf(output: Any) -> Tensor:
    """The tensor that a loss would use of D's output."""
    return next(leaves(output))


def replace_samples(args: Any, kwargs: Any, x: Tensor) -> tuple[Any, Any]:
    """The arguments of a call with other samples; row-wise companions (labels) are cut to as many rows."""
    if _is_plain(args, kwargs):
        return (x,), {}
    done = False
    old = samples(args, kwargs)
    before = None if old is None else len(old)

    def swap(value: Any) -> Any:
        nonlocal done
        if isinstance(value, Tensor):
            if not done and value.is_floating_point() and value.ndim >= 2:
                done = True
                return x
            if value.ndim >= 1 and len(value) == before and len(value) != len(x):
                return value[: len(x)]
        if type(value) in (list, tuple):
            return type(value)(swap(item) for item in value)
        if type(value) is dict:
            return {key: swap(item) for key, item in value.items()}
        return value

    return swap(tuple(args)), swap(dict(kwargs))


def samples(args: Any, kwargs: Any) -> Tensor | None:
    """The samples among a call's arguments: the first floating tensor with a batch axis, shape (n, ...)."""
    if _is_plain(args, kwargs):
        found: Tensor = args[0]
        return found
    return next((x for x in leaves((args, kwargs)) if x.ndim >= 2), None)


def _is_plain(args: Any, kwargs: Any) -> bool:
    """Whether the samples are all there is, as in most loops: they need not be looked for."""
    return (
        len(args) == 1
        and not kwargs
        and isinstance(args[0], Tensor)
        and args[0].ndim >= 2
        and args[0].is_floating_point()
    )


def pick_rows(args: Any, kwargs: Any, rows: Tensor) -> tuple[Any, Any]:
    """The arguments of a call with some of its rows alone, labels alike; `rows` is bool (n,)."""

    def pick(value: Any) -> Any:
        return value[rows] if isinstance(value, Tensor) and value.ndim >= 1 and len(value) == len(rows) else value

    return map_tensors(tuple(args), pick), map_tensors(dict(kwargs), pick)


def in_full_precision(net: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Floating-point arguments in the type of a net's weights: what came out of autocast is narrower.

    gandiag's own forwards do not run under autocast: second derivatives and small penalties would drown in rounding.
    """
    type_ = next(net.parameters()).dtype
    return map_floats(tuple(args), lambda x: x.to(type_)), map_floats(dict(kwargs), lambda x: x.to(type_))


def map_floats(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`value` with each of its floating-point tensors that have rows changed, however nested."""
    return map_tensors(value, lambda x: change(x) if x.is_floating_point() and x.ndim >= 1 else x)


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`value` with each of its tensors changed, however nested."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(map_tensors(item, change) for item in value)
    if type(value) is dict:
        return {key: map_tensors(item, change) for key, item in value.items()}
    return value
