"""D's logits on real and fake samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gandiag.loop import Observer, Step
from gandiag.loop.calls import Kind
from gandiag.probes.base import Probe, Row, probe, split_rows

#: Outputs kept of one batch: patch discriminators put out thousands of scores for each image.
MOST = 1024


@probe("logits")
class Logits(Probe):
    """Columns `d/logits/{real,fake}/...`, `d/accuracy` and `g/logits/fake/...`.

    A D that ends in a sigmoid is read as a logit, so that the columns mean the same for all. `positive` is
    the share judged real. `d/accuracy` is the mean of the shares judged right on real and on fake.
    """

    def __init__(self) -> None:
        self._probability: dict[str, bool] = {}

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """Keep references; the statistics are taken of a hundred iterations at once."""
        of_g = step.role == "g"
        for call in step.calls:
            kind, output, probability = call.kind, call.output, call.probability
            if output is None:
                continue
            if kind is Kind.FAKE:
                self._keep(row, "g/logits/fake" if of_g else "d/logits/fake", output, probability)
            elif of_g:
                continue
            elif kind is Kind.REAL:
                self._keep(row, "d/logits/real", output, probability)
            elif kind is Kind.CAT:
                rows = call.fake_rows
                if rows is not None and len(output) == len(rows):
                    real, fake = split_rows(output, rows)
                    self._keep(row, "d/logits/real", real, probability)
                    self._keep(row, "d/logits/fake", fake, probability)

    def reduce(self, prefix: str, batch: Tensor) -> dict[str, Tensor]:
        """Mean, std, quantiles and the share above zero, each of shape (t,)."""
        n = batch.shape[1]
        batch = as_logits(batch) if self._probability.get(prefix) else batch
        ordered = _sorted(batch)
        columns = {
            "mean": batch.mean(dim=1),
            "std": batch.std(dim=1, unbiased=False),
            "q05": ordered[:, round(0.05 * (n - 1))],
            "q50": ordered[:, (n - 1) // 2],
            "q95": ordered[:, round(0.95 * (n - 1))],
            "positive": (batch > 0).float().mean(dim=1),
        }
        return {f"{prefix}/{name}": values for name, values in columns.items()}

    def derive(self, columns: dict[str, np.ndarray]) -> None:
        """The share judged right, real and fake weighted alike."""
        real, fake = columns.get("d/logits/real/positive"), columns.get("d/logits/fake/positive")
        if real is not None and fake is not None:
            columns["d/accuracy"] = (real + 1 - fake) / 2

    def _keep(self, row: Row, prefix: str, output: Tensor, probability: bool) -> None:
        self._probability[prefix] = probability
        if output.numel() > MOST:
            flat = output.flatten()
            output = flat[:: -(-flat.numel() // MOST)].clone()  # a view would keep all of them alive until the flush
        row.batches[prefix] = output, output._version


def as_logits(probability: Tensor) -> Tensor:
    """Logits of probabilities, in float64 so that 1 - 1e-9 is not 1; at most 36.7 in absolute value."""
    return torch.logit(probability.to(torch.float64), eps=2.0**-53).to(torch.float32)


def _sorted(batch: Tensor) -> Tensor:
    if batch.device.type == "cpu":  # numpy's sort uses the vector units and is six times as fast there
        return torch.from_numpy(np.sort(batch.numpy(), axis=1))
    return batch.sort(dim=1).values
