"""What techniques get to see of a step: batches, D and G as functions, the script's own loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gandiag.errors import TechniqueRefused
from gandiag.interventions import ranks
from gandiag.interventions.companions import Companions, beside
from gandiag.interventions.critic import DCritic
from gandiag.interventions.maker import GMaker
from gandiag.interventions.margins import Margins
from gandiag.interventions.network import Changes
from gandiag.interventions.own_loss import ScriptLoss, at_logits
from gandiag.interventions.pairs import Pair, loss_weight
from gandiag.loop import Call, Observer
from gandiag.techniques import Batch, Latent, Technique

#: Where gandiag's own random stream starts: a fixed number, so that a run with a technique can be repeated.
SEED = 20_718


_UNREAD = ScriptLoss()


class Batches:
    """Makes what the methods of techniques are given.

    Args:
        techniques: all that are on.
        observer: the loop.

    Attributes:
        changes: of each net that has been prepared, by id.
        last: the last pair of real and fake batches that each D has seen, by id of the D.
        margins: what the graphs of the script's losses show.
        wants_trained: whether any technique must know which parameters of a net are trained.
    """

    def __init__(self, techniques: Sequence[Technique], observer: Observer) -> None:
        self.changes: dict[int, Changes] = {}
        self.last: dict[int, Pair] = {}
        self._techniques = techniques
        self._observer = observer
        self._generators: dict[torch.device, torch.Generator] = {}
        self._weight: Tensor | None = None
        self._own: dict[int, ScriptLoss] = {}
        self._steps: dict[int, int] = {}
        self.margins = Margins()
        self._companions = Companions()
        self._asking = any(t.asks_d for t in techniques)
        self.wants_trained = self._asking or any(t.reads_own_loss for t in techniques)
        self._wants_logits = any(t.reads_logits or t.reads_own_loss for t in techniques)
        self._pack = max((t.pack for t in techniques), default=1)
        self._reading = next((t.card.name for t in techniques if t.reads_own_loss), None)

    def generator(self, device: torch.device) -> torch.Generator:
        """The random stream of gandiag's own on a device; each rank has its own, as it has its own samples."""
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(SEED + ranks.rank())
        return self._generators[device]

    def changes_of(self, net: nn.Module) -> Changes:
        """What is changed in a net; nothing where it was not prepared."""
        return self.changes.get(id(net)) or Changes(net, [], of_d=False)

    def d_steps(self, found: Sequence[Pair], drawn: Sequence[Call]) -> None:
        """Take note of the pairs of a step of D, and of the last calls of G."""
        for net in {id(pair.real_call.unit) for pair in found}:
            self._steps[net] = self._steps.get(net, -1) + 1
        self.last.update({id(pair.real_call.unit): pair for pair in found})
        if self.wants_trained:
            for pair in found:
                self.changes_of(pair.real_call.unit).note_trained()
        if self._asking:
            for pair in found:
                self._companions.learn(pair, drawn)

    def for_d(self, pair: Pair, *, check: bool) -> Batch:
        """For `d_loss`. `check` asks whether the script's loss is what techniques need it to be."""
        weighing = next((t.card.name for t in self._techniques if "bce" in t.card.suits), None)
        if weighing is not None:
            self._weight = loss_weight(pair.real_call, self._weight, check=check, name=weighing)
        batch = self._batch(pair, pair.fake, pair.fake_call)
        # Losses are averaged over pairs, and the script's weight already is what one pair has in its sum.
        batch.weight = batch.weight / pair.share
        if not self._wants_logits:
            return batch
        batch.real_logits, real_slopes = _logits(pair.real_call)
        batch.fake_logits, fake_slopes = _logits(pair.fake_call)
        if self._reading is not None:
            own = self._own.setdefault(id(batch.net), ScriptLoss(margin=self.margins.found))
            batch.own = own
            own.show("real", batch.real_logits, real_slopes, name=self._reading)
            own.show("fake", batch.fake_logits, fake_slopes, name=self._reading)
        return batch

    def weight_of(self, call: Call) -> Tensor:
        """The script's weight on its loss of a real batch whose gradient has just reached D's output, 0-dim."""
        self._weight = loss_weight(call, self._weight, check=False)
        return self._weight

    def for_g(self, pair: Pair, call: Call, x: Tensor) -> Batch:
        """For `g_loss`: the fakes of a call that G learns from, beside the last real batch."""
        return self._batch(pair, x.detach().requires_grad_(), call)

    @property
    def read(self) -> bool:
        """Whether any technique wants to know the script's loss."""
        return self._reading is not None

    @property
    def looks_at_graphs(self) -> bool:
        """Whether the script's loss must be known and has not been read yet."""
        return self._reading is not None and not self._own

    def look_at_g(self, call: Call) -> None:
        """Take note of what the script's loss of G sends to D's output."""
        if id(call.unit) in self._own:
            self._own[id(call.unit)].show_g(*_logits(call), name=str(self._reading))

    def latent(self, technique: Technique, call: Call, z: Tensor, *, pair: Pair | None = None) -> Latent:
        """For `g_input`, `d_term` and `g_term`: a call of G with the latents `z`.

        Args:
            technique: who asks.
            call: of G.
            z: shape (n, ...), no graph.
            pair: what the D in question has last seen; None for the first D.
        """
        make = GMaker(self._observer, self.changes_of(call.unit), call)
        latent = Latent(
            z=z, make=make, critic=None, generator=self.generator(z.device), own=_UNREAD, labelled=bool(beside(call))
        )
        name = technique.card.name
        if technique.one_d and len(self.last) > 1:
            raise TechniqueRefused(
                f"{name} is defined for one discriminator, and this script trains {len(self.last)}; use r1 or lecam, "
                "which each of them gets for itself"
            )
        pair = pair or next(iter(self.last.values()), None)
        if pair is not None and technique.asks_d:
            latent.critic = self._critic(pair, self._companions.of_g(name, pair.fake_call, call))
            latent.real, latent.own = pair.real, self._own.get(id(pair.real_call.unit), _UNREAD)
        return latent

    def last_of(self, calls: Sequence[Call]) -> list[Pair]:
        """The last pairs of the Ds that made these calls."""
        units = {id(call.unit) for call in calls}
        return [pair for unit, pair in self.last.items() if unit in units]

    def again(self, call: Call) -> Tensor:
        """D's logits for what a call saw, with a graph; in the critic's full precision."""
        x = next(x for x in call.seen if x.ndim >= 2)
        return DCritic(self._observer, self.changes[id(call.unit)], real=call, fake=call)(x)

    def _critic(self, pair: Pair, fake: Call) -> DCritic:
        changes = self.changes[id(pair.real_call.unit)]
        return DCritic(self._observer, changes, real=pair.real_call, fake=fake)

    def _batch(self, pair: Pair, fake: Tensor, call: Call) -> Batch:
        real, net = pair.real, pair.real_call.unit
        return Batch(
            real=real,
            fake=fake,
            critic=self._critic(pair, call),
            generator=self.generator(real.device),
            weight=self._weight if self._weight is not None else real.new_ones(()),
            pack=self._pack,
            net=net,
            own=self._own.get(id(net), _UNREAD),
            step=self._steps.get(id(net), 0),
        )


def _logits(call: Call) -> tuple[Tensor | None, Tensor | None]:
    """The script's own logits in a call and the gradient at them."""
    if call.output is None or call.cotangent is None:
        return None, None
    return at_logits(call.output, call.cotangent, probability=call.probability)
