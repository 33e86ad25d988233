"""The optimizer seam: settings for one step, steps that are left out, and steps that a technique does itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from gandiag.errors import TechniqueRefused
from gandiag.interventions import ranks
from gandiag.interventions.added import Added
from gandiag.loop import Observer, Step
from gandiag.loop.listener import Listener
from gandiag.techniques import Technique


class Stepping(Listener):
    """What happens right before and right after the script's `optimizer.step()`.

    A step is left out by hiding the gradients: torch's optimizers pass over a parameter without one, and neither its
    weight nor its state moves. As a listener it comes after the recorder, which must see the gradients.

    Args:
        techniques: all that are on.
        added: their parameters.
        observer: the loop.
        counts: how often each technique has acted, by name.

    Attributes:
        left_out: whether a technique leaves out the step that is being done.
    """

    def __init__(
        self, techniques: Sequence[Technique], added: Added, observer: Observer, counts: dict[str, int]
    ) -> None:
        self._techniques = techniques
        self._sets = any(t.has("learning_rate", "options") for t in techniques)
        self._skipping = [t for t in techniques if t.has("skips")]
        self._added = added
        self._observer = observer
        self._counts = counts
        self._settings: list[tuple[dict[str, Any], str, Any]] = []
        self._hidden: dict[nn.Parameter, Tensor] = {}
        self._taken: Technique | None = None
        self.left_out = False

    def unscale(self, step: Step) -> None:
        """Take a GradScaler's scale out of gradients that still have it, before anything is added to them.

        A scaler takes it out of the parameters of the optimizer before the step; but not of those that techniques have
        added, and not where the optimizer says that it does so itself, as fused ones do.
        """
        if self._observer.scale is not None:
            for p in self._added.of(step.optimizer):
                if p.grad is not None:
                    p.grad /= self._observer.scale.to(p.grad.device)
        own: Tensor | None = getattr(step.optimizer, "grad_scale", None)
        if own is not None:
            for group in step.optimizer.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.grad /= own.to(p.grad.device)
            step.optimizer.grad_scale = None  # type: ignore[attr-defined]

    def prepare(self, step: Step) -> None:
        """Change the settings for this step, and decide who does it."""
        if step.role in ("d", "g"):
            if self._sets:
                self._set(step)
            for technique in self._skipping:
                if technique.skips(role=step.role):
                    self.left_out = True
                    self._counts[technique.card.name] += 1
            self._taken = next((t for t in self._techniques if step.role in t.steps()), None)
        if step.role != "g":
            ranks.average_grads(self._added.of(step.optimizer))

    def before_step(self, step: Step) -> None:
        """Hide the gradients, if the script's optimizer shall not use them."""
        if self.left_out or self._taken is not None:
            held = [p for group in step.optimizer.param_groups for p in group["params"] if p.grad is not None]
            self._hidden = {p: p.grad for p in held if p.grad is not None}
            for p in held:
                p.grad = None

    def finish(self, step: Step) -> None:
        """Do what the script's optimizer has not done, step the added parameters, put settings and gradients back."""
        for p, gradient in self._hidden.items():
            if p.grad is not None:
                raise TechniqueRefused(
                    f"{(self._taken or self._techniques[0]).card.name} does the optimizer's step itself, and this "
                    "script computes its gradients inside the step, in a closure; call backward() before step()"
                )
            p.grad = gradient
        self._hidden = {}
        if not (step.skipped or self.left_out):
            with self._observer.quiet():  # the optimizers of techniques are none of the script's
                if self._taken is not None:
                    self._taken.take_step(role=step.role, groups=self._groups(step.optimizer))
                    self._counts[self._taken.card.name] += 1
                elif step.role != "g":
                    self._added.step(step.optimizer)
        # As if they were D's: the script clears D's gradients before it fills them for D's step.
        for p in self._added.all() if step.role == "g" else self._added.of(step.optimizer):
            p.grad = None
        for group, key, value in reversed(self._settings):
            group[key] = value
        self._settings, self._taken, self.left_out = [], None, False

    def _groups(self, optimizer: Optimizer) -> list[dict[str, Any]]:
        """The script's groups, each with the parameters that techniques have added to its layers."""
        # Older versions of torch have the class alone to tell it by.
        decoupled = {"decoupled_weight_decay": True} if isinstance(optimizer, AdamW) else {}
        return [
            {**decoupled, **group, "params": [*group["params"], *parameters]}
            for group, parameters in zip(optimizer.param_groups, self._added.beside(optimizer), strict=True)
        ]

    def _set(self, step: Step) -> None:
        """Rates first, then the other settings, which may change a rate once more: a decay of what `ttur` has set."""
        other = next(iter(self._observer.optimizers("g" if step.role == "d" else "d")), None)
        for group in step.optimizer.param_groups:
            for technique in self._techniques:
                if technique.has("learning_rate") and other is not None:
                    rate = technique.learning_rate(role=step.role, own=group["lr"], other=other.param_groups[0]["lr"])
                    self._change(technique, group, {"lr": rate} if rate is not group["lr"] else {})
            for technique in self._techniques:
                if technique.has("options"):
                    self._change(technique, group, technique.options(role=step.role, own=group))

    def _change(self, technique: Technique, group: dict[str, Any], settings: dict[str, Any]) -> None:
        for key, value in settings.items():
            self._settings.append((group, key, group[key]))
            group[key] = value
        if settings:
            self._counts[technique.card.name] += 1
