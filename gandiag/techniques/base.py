"""What a technique is: its maths, the seams it acts at, and its card.

A technique knows tensors and nothing of loops: `gandiag.interventions` calls its methods at the right
moment of a training loop that knows nothing of either. The seams, in the order of one iteration:

    # <NETWORKS>   widen(), prepare(): once, before D's first forward; stem(), head(), weights(): inside each one
    # <D INPUT>    d_input(x): what D sees, real and fake alike, in both phases
    output = D(x)
    loss.backward()
    # <G GRADIENT> g_loss(batch): its gradient at D's input is added to, or put in place of, what flows into G
    # <D GRADIENT> d_loss(batch): its gradient is added to, or put in place of, what the script computed
    # <GRADIENTS>  clip(parameters): whatever came before it
    # <OPTIMIZER>  learning_rate(...): for this step only
    optimizer.step()
    # <AFTER STEP> after_g_step(nets): weights
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from gandiag.errors import TechniqueRefused, UsageError
from gandiag.registry import Registry

#: Layers that mix the samples of a batch, so that D's slope at one sample is not defined.
BATCH_COUPLED = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")


@dataclass(frozen=True)
class Card:
    """What a person, and the recommender, must know of a technique.

    Attributes:
        name: as in `--enable name`.
        summary: one sentence.
        treats: finding code -> how strong the evidence is that it helps, 0..1.
        source: author, year, arXiv id, equation.
        seams: where it acts, of "networks", "d_input", "gradients", "optimizer", "after_step".
        cost: time of a training step over the plain step's; an estimate until measured.
        cautions: what can go wrong, one sentence each.
        conflicts: techniques that must not be on at the same time.
        layers: layer classes in D with which it must not be used (a gradient penalty with batch norm).
        suits: the loss families that it needs; empty means any.
        restart: whether training must start anew (it changes what D's weights mean).
        snippet: the lines that write it into a script by hand.
    """

    name: str
    summary: str
    treats: dict[str, float]
    source: str
    seams: tuple[str, ...]
    cost: float
    cautions: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    suits: tuple[str, ...] = ()
    restart: bool = False
    snippet: str = ""


@dataclass
class Ends:
    """The first and the last layer with a weight matrix between a net's samples and its first output."""

    stem: nn.Module
    head: nn.Module


Beside: TypeAlias = dict[nn.Module, list[nn.Module]]


@runtime_checkable
class Critic(Protocol):
    """D as a differentiable function of its samples alone; labels and other inputs are those of the batch."""

    def __call__(self, x: Tensor, *, like: str = "real") -> Tensor:
        """D's logits for `x`, one for each pack; `like` says whose other inputs (labels) to use, "real" or "fake"."""

    def features(self, x: Tensor, *, like: str = "real") -> Tensor:
        """D's penultimate features of `x`, shape (n, f)."""


@dataclass
class Batch:
    """What a loss of a technique may use.

    Attributes:
        real: what D last saw as real, shape (n, ...), no graph.
        fake: what D saw as fake, shape (m, ...); in `g_loss` it requires a gradient.
        critic: D; its forward leaves buffers and every random stream as they were.
        generator: gandiag's own random stream, on the batch's device.
        weight: the script's weight on its loss for the real batch, 0-dim; 1 where it is not BCE.
        pack: how many samples D judges at a time (PacGAN); the critic gives one logit for each pack.
    """

    real: Tensor
    fake: Tensor
    critic: Critic
    generator: torch.Generator
    weight: Tensor
    pack: int = 1


class Technique:
    """Base of all techniques: a dataclass whose fields are its parameters.

    Attributes:
        card: see `Card`.
        takes_over: whether `d_loss` and `g_loss` replace the script's gradients instead of adding to them.
        reads_features: whether it calls `Critic.features`.
        pack: how many samples D judges at a time.
    """

    card: ClassVar[Card]
    takes_over: ClassVar[bool] = False
    reads_features: ClassVar[bool] = False

    @property
    def pack(self) -> int:
        """One, but for PacGAN."""
        return 1

    def start(self, g_nets: list[nn.Module]) -> None:
        """Called once, when the roles are known and no optimizer has stepped yet."""

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

    def stem(self, layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """D's first layer on `x`; `forward` is the layer itself."""
        return forward(x)

    def head(self, layer: nn.Module, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """D's last layer on `x`; `forward` is the layer itself."""
        return forward(x)

    def d_input(self, x: Tensor, *, generator: torch.Generator) -> Tensor:
        """A differentiable change of what D sees, shape kept."""
        return x

    def d_output(self, output: Tensor, *, rows: int) -> Tensor:
        """A change of what D returns, so that it has `rows` rows again."""
        return output

    def d_loss(self, batch: Batch) -> Tensor | None:
        """A 0-dim loss of D's parameters, or None."""
        return None

    def g_loss(self, batch: Batch) -> Tensor | None:
        """A 0-dim loss of `batch.fake`, or None."""
        return None

    def clip(self, parameters: list[nn.Parameter]) -> None:
        """Change the final gradients in place."""

    def learning_rate(self, *, role: str, own: float | Tensor, other: float | Tensor) -> float | Tensor:
        """The rate for this step: `own` is the script's for this optimizer, `other` for the other net's."""
        return own

    def after_g_step(self, g_nets: list[nn.Module]) -> None:
        """Called after G's optimizer has stepped."""

    def params(self) -> dict[str, Any]:
        """The parameters, as `--enable` would be given them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}  # type: ignore[arg-type]

    def has(self, *seams: str) -> bool:
        """Whether any of these methods is this class's own."""
        return any(getattr(type(self), seam) is not getattr(Technique, seam) for seam in seams)

    def check(self) -> None:
        """Raise UsageError if a parameter is out of range."""


TECHNIQUES: Registry[type[Technique]] = Registry("technique", "gandiag.techniques")
T = TypeVar("T", bound=type[Technique])


def technique(card: Card) -> Callable[[T], T]:
    """Register a dataclass as the technique of this card."""

    def decorate(cls: T) -> T:
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
