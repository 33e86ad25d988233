"""What a technique is: its maths, the seams it acts at, and its card.

A technique knows tensors and nothing of loops: `gandiag.interventions` calls its methods at the right
moment of a training loop that knows nothing of either. The seams, in the order of one iteration:

    # <NETWORKS>   widen(), prepare(), inside(): once, before a net's first forward
    #              g_input(latent): what G sees; stem(), head(), weights(), before(): at each forward
    # <D INPUT>    d_input(x): what D sees, real and fake alike, in both phases
    output = D(x)
    loss.backward()
    # <D OUTPUT>   loss_at(logits): in place of `d_loss` and `g_loss` below, where each batch is judged by itself
    # <G GRADIENT> g_loss(batch): its gradient at D's input is added to, or put in place of, what flows into G;
    #              g_gradient(batch, gradient): a change of all that flows there
    # <D GRADIENT> d_loss(batch): its gradient is added to, or put in place of, what the script computed
    # <GRADIENTS>  d_term(latent), g_term(latent), weights_loss(nets): gradients of weights, added
    #              clip(parameters): whatever came before it
    # <OPTIMIZER>  learning_rate(...), options(...): for this step only; skips(), take_step(): instead of it
    optimizer.step()
    # <AFTER STEP> after_d_step(nets), after_g_step(nets), after_iteration(...): weights
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from gandiag.errors import GandiagError, TechniqueRefused, UsageError
from gandiag.registry import Registry
from gandiag.techniques._card import BATCH_COUPLED, Card
from gandiag.techniques._given import Batch, Beside, Critic, Ends, Inside, Latent, Maker, OwnLoss

__all__ = [
    "BATCH_COUPLED",
    "TECHNIQUES",
    "Batch",
    "Beside",
    "Card",
    "Critic",
    "Ends",
    "Inside",
    "Latent",
    "Maker",
    "OwnLoss",
    "Technique",
    "as_text",
    "for_each_pack",
    "own_weight",
    "parse",
    "positive",
    "technique",
]


class Technique:
    """Base of all techniques: a dataclass whose fields are its parameters.

    Attributes:
        card: see `Card`.
        takes_over: whether `d_loss` and `g_loss` replace the script's gradients instead of adding to them.
        reads_features: whether it calls `Critic.features`.
        reads_logits: whether it uses `Batch.real_logits` and `Batch.fake_logits`, which are None without it.
        judges: the sides on which `loss_at` is asked: "real" and "fake" in D's step, "g" where G learns.
        reads_own_loss: whether it uses `Batch.own`, and may use those; the script's loss must be of a known family.
        asks_d: whether it uses `Latent.critic`, which is None without it.
        one_d: whether it means nothing where there are several discriminators.
        pack: how many samples D judges at a time.
    """

    card: ClassVar[Card]
    takes_over: ClassVar[bool] = False
    reads_features: ClassVar[bool] = False
    reads_logits: ClassVar[bool] = False
    reads_own_loss: ClassVar[bool] = False
    asks_d: ClassVar[bool] = False
    one_d: ClassVar[bool] = False
    judges: ClassVar[tuple[str, ...]] = ("real", "fake", "g")
    _seams: ClassVar[frozenset[str]] = frozenset()  # names of the methods that are this class's own

    def __init_subclass__(cls) -> None:
        """Note them once: `has` is asked some twenty times in each round of the script's loop."""
        super().__init_subclass__()
        cls._seams = frozenset(name for name in vars(Technique) if getattr(cls, name) is not getattr(Technique, name))

    @property
    def couples(self) -> bool | None:
        """Whether it makes D mix the samples of a batch (True), or takes that out of it (False)."""
        return None

    @property
    def pack(self) -> int:
        """One, but for PacGAN."""
        return 1

    def start(self, g_nets: list[nn.Module]) -> None:
        """Called once, when the roles are known and no optimizer has stepped yet."""

    # -- networks -----------------------------------------------------------------------------------------

    def widen(self, ends: Ends, *, generator: torch.Generator) -> None:
        """Called once for each D, before its first forward: make the layers that `stem` or `head` will need."""

    def prepare(self, d: nn.Module, *, beside: Beside, generator: torch.Generator) -> None:
        """Called once for each D, after all `widen`; `beside` holds the layers that they have made."""

    def added(self) -> dict[nn.Module, list[nn.Parameter]]:
        """New parameters, for each of D's layers that they belong to; they are trained as that layer is."""
        return {}

    def beside(self) -> Beside:
        """New layers beside one of D's: side by side along the input axis their weights are one wider matrix."""
        return {}

    def weights(self, d: nn.Module, *, training: bool, update: bool) -> dict[nn.Module, Tensor]:
        """Weights to use in place of the layers' own, for this forward of `d`."""
        return {}

    def inside(self, net: nn.Module, *, role: str, generator: torch.Generator) -> dict[nn.Module, Inside]:
        """Called once for each net, before its first forward: layers of it, and what they do from then on.

        It acts in every forward of the net, in evaluation too; `net.training` says which it is.

        Args:
            net: a generator or a discriminator.
            role: "g" or "d".
            generator: gandiag's own random stream.
        """
        return {}

    def before(self, net: nn.Module, args: Any, kwargs: Any, run: Callable[..., Any]) -> None:
        """Called before each forward of a net that `inside` has layers of; `run(*args, **kwargs)` is one more."""

    def g_input(self, latent: Latent) -> Tensor:
        """What G is given in place of `latent.z`, shape kept; in train mode only."""
        return latent.z

    def stem(self, layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """D's first layer on `x`; `forward` is the layer itself."""
        return forward(x)

    def head(self, layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """D's last layer on `x`; `forward` is the layer itself."""
        return forward(x)

    # -- D's input and output -----------------------------------------------------------------------------

    def d_input(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """A differentiable change of what D sees, shape kept."""
        return x

    def d_output(self, output: Tensor, *, rows: int) -> Tensor:
        """A change of what D returns, so that it has `rows` rows again."""
        return output

    # -- gradients ----------------------------------------------------------------------------------------

    def d_loss(self, batch: Batch) -> Tensor | None:
        """A 0-dim loss of D's parameters, or None."""
        return None

    def g_loss(self, batch: Batch) -> Tensor | None:
        """A 0-dim loss of `batch.fake`, or None."""
        return None

    def loss_at(self, logits: Tensor, *, side: str, weight: Tensor) -> Tensor:
        """The part of `d_loss` and `g_loss` that D's logits of one batch decide by themselves, 0-dim.

        Where it is given, the gradient that the script's loss sends to D's output is replaced, or added to, on its way
        through, and D runs no more often than in the script; `d_loss` and `g_loss` serve wherever that is not exact.

        Args:
            logits: of D's output, any shape; require a gradient.
            side: one of `judges`; over "real" and "fake" the parts add up to `d_loss`, and "g" is `g_loss`.
            weight: as `Batch.weight`.
        """
        raise NotImplementedError

    def g_gradient(self, batch: Batch, gradient: Tensor) -> Tensor:
        """A change of what flows into G: the gradient at `batch.fake`, after all `g_loss`."""
        return gradient

    def d_term(self, latent: Latent) -> Tensor | None:
        """A 0-dim loss of D's weights that needs another forward of G, or None; asked at D's step."""
        return None

    def g_term(self, latent: Latent) -> Tensor | None:
        """A 0-dim loss of G's weights, through `latent.make`, or None; asked at G's step."""
        return None

    def weights_loss(self, *, role: str, nets: list[nn.Module]) -> Tensor | None:
        """A 0-dim loss of the weights themselves, or None; asked at each step of the role, "g" or "d".

        Args:
            role: "g" or "d".
            nets: those that the step trains; after D's, what techniques have added to them, in an `nn.ParameterList`.
        """
        return None

    def clip(self, parameters: list[nn.Parameter]) -> None:
        """Change the final gradients in place."""

    # -- optimizer ----------------------------------------------------------------------------------------

    def learning_rate(self, *, role: str, own: float | Tensor, other: float | Tensor) -> float | Tensor:
        """The rate for this step: `own` is the script's for this optimizer, `other` for the other net's."""
        return own

    def options(self, *, role: str, own: Mapping[str, Any]) -> dict[str, Any]:
        """Settings for this step that shall differ, such as {"betas": (0.0, 0.99)}; asked for each group.

        Args:
            role: "g" or "d".
            own: a parameter group of the optimizer that is about to step.
        """
        return {}

    def steps(self) -> tuple[str, ...]:
        """The roles whose step `take_step` does in place of the script's optimizer."""
        return ()

    def take_step(self, *, role: str, groups: list[dict[str, Any]]) -> None:
        """Move the parameters by their gradients; the script's own step moves nothing.

        Args:
            role: "g" or "d".
            groups: the parameter groups as the script's optimizer has them, with `learning_rate` and `options` done.
        """

    def skips(self, *, role: str) -> bool:
        """Whether this step is left out; asked once for each step of each role, after `d_loss`."""
        return False

    # -- after the step -----------------------------------------------------------------------------------

    def after_d_step(self, d_nets: list[nn.Module]) -> None:
        """Called after each step of D's optimizer."""

    def after_g_step(self, g_nets: list[nn.Module]) -> None:
        """Called once a round, after G's optimizer has stepped."""

    def after_iteration(self, *, g_nets: list[nn.Module], d_nets: list[nn.Module]) -> None:
        """Called once a round, after all of the above."""

    # -- itself -------------------------------------------------------------------------------------------

    def params(self) -> dict[str, Any]:
        """The parameters, as `--enable` would be given them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}  # type: ignore[arg-type]

    def has(self, *seams: str) -> bool:
        """Whether any of these methods is this class's own."""
        return not self._seams.isdisjoint(seams)

    def check(self) -> None:
        """Raise UsageError if a parameter is out of range."""


TECHNIQUES: Registry[type[Technique]] = Registry("technique", "gandiag.techniques")
T = TypeVar("T", bound=type[Technique])


def technique(card: Card) -> Callable[[T], T]:
    """Register a dataclass as the technique of this card."""

    def decorate(cls: T) -> T:
        hidden = [f.name for f in dataclasses.fields(cls) if hasattr(Technique, f.name)]  # type: ignore[arg-type]
        if hidden:
            raise GandiagError(f"technique {card.name!r} has a parameter {hidden[0]!r}, which is a seam; rename it")
        cls.card = card
        TECHNIQUES.add(card.name, cls, home=cls.__module__)
        return cls

    return decorate


def parse(text: str | Technique) -> Technique:
    """Make a technique of `"r1:gamma=0.1,every=2"`; an object passes through.

    Raises:
        UnknownName: no such technique.
        UsageError: no such parameter, or a value that is no number.
    """
    if isinstance(text, Technique):
        text.check()
        return text
    name, _, rest = text.partition(":")
    cls = TECHNIQUES[name.strip()]
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for pair in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = pair.partition("=")
        if key not in fields or not equals:
            known = ", ".join(f"{f.name}={f.default}" for f in fields.values()) or "none"
            raise UsageError(f"technique {name!r} was given {pair!r}; its parameters are: {known}")
        if key in values:
            raise UsageError(f"technique {name!r} was given {key} twice; give it once")
        kind: Any = type(fields[key].default)
        try:
            values[key] = kind(float(value)) if kind is not str else value
        except ValueError:
            raise UsageError(f"technique {name!r}: {key}={value!r} is not a number") from None
        if kind is int and float(value) != values[key]:
            raise UsageError(f"technique {name!r}: {key} must be a whole number, got {value}")
    made = cls(**values)
    made.check()
    return made


def as_text(name: str, params: dict[str, Any]) -> str:
    """The inverse of `parse`: `r1:gamma=0.1`."""
    inner = ",".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()
    )
    return f"{name}:{inner}" if inner else name


def for_each_pack(values: Tensor, pack: int) -> Tensor:
    """Sums of one value for each sample, shape (n,), over the samples that D judges together: (ceil(n / pack),)."""
    if pack == 1:
        return values
    short = -len(values) % pack
    return functional.pad(values, (0, short)).reshape(-1, pack).sum(dim=1)


def own_weight(name: str, layer: nn.Module) -> nn.Parameter:
    """A layer's weight, for a technique that sets another layer beside it.

    Raises:
        TechniqueRefused: the weight is computed by a normalisation of the script's own, which would have to see both.
    """
    weight = layer._parameters.get("weight")
    if weight is None:
        raise TechniqueRefused(
            f"{name} makes D's {type(layer).__name__} wider, and the script normalises that layer's weight by itself "
            "(spectral or weight norm), which would miss the added part; use rpgan_r1_r2, or write it into the script"
        )
    return weight


def positive(name: str, **values: float | int) -> None:
    """Raise UsageError unless every value is a finite number above zero."""
    for key, value in values.items():
        if not 0 < value < float("inf"):
            raise UsageError(f"technique {name!r}: {key} must be above zero, got {value}")
