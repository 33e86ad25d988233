"""D's penultimate features: how they differ between real and fake, and whether they are alive."""

from __future__ import annotations

import torch
from torch import Tensor

from gandiag.loop import Call, Observer, Step
from gandiag.loop.calls import Kind
from gandiag.probes.base import Probe, Row, now_and_then, probe, split_rows


@probe("features")
class Features(Probe):
    """Columns `features/...`, now and then.

    `mean_gap`: |mean(real) - mean(fake)| over the real features' root mean square; `variance_gap`: mean
    absolute log ratio of the variances; `dead_share`: features that are constant over both batches;
    `effective_rank_*`: participation ratio of the covariance, (sum l)^2 / sum l^2 over its eigenvalues l, from
    traces alone (an eigenvalue routine would synchronise on a GPU); `similarity_*`: mean cosine similarity of
    the pairs within a batch, 1 when all samples look the same to D.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[Call, Tensor]] = []

    def wants_features(self, iteration: int) -> bool:
        """Now and then."""
        return now_and_then(iteration)

    def call_ended(self, call: Call, role: str, features: Tensor | None, row: Row) -> None:
        """Keep the features until the step says what the call was."""
        if features is not None:
            self._seen.append((call, features))

    def before_step(self, step: Step, row: Row, observer: Observer) -> None:
        """Compare the real with the fake call of D's step."""
        if step.role == "g" or not self._seen:
            return
        seen, self._seen = self._seen, []
        by_net: dict[tuple[int, int], dict[str, Tensor]] = {}
        for call, features in seen:
            found = by_net.setdefault((id(call.unit), features.shape[1]), {})
            rows = call.fake_rows
            if call.kind is Kind.CAT and rows is not None and len(rows) == len(features):
                found["real"], found["fake"] = split_rows(features, rows)
            elif call.kind in (Kind.REAL, Kind.FAKE):
                found[str(call.kind)] = features
        for found in by_net.values():  # of several discriminators, or of scales of one, the first
            if {"real", "fake"} <= set(found):
                row.scalars.update(feature_statistics(real=found["real"], fake=found["fake"]))
                break


def feature_statistics(*, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """The columns of `Features`, each 0-dim.

    Args:
        real: D's features of a real batch, shape (n, f).
        fake: of a fake batch, shape (m, f).
    """
    real, fake = real.float(), fake.float()
    mean_real, mean_fake = real.mean(dim=0), fake.mean(dim=0)
    # Centred once for two statistics; `var` along the first axis takes four times as long on a CPU.
    off_real, off_fake = real - mean_real, fake - mean_fake
    scale = real.square().mean().sqrt().clamp_min(1e-12)
    floor = 1e-8 * scale.square()
    log_real, log_fake = ((off.square().mean(dim=0) + floor).log() for off in (off_real, off_fake))
    first = real[:1]
    return {
        "features/mean_gap": (mean_real - mean_fake).square().mean().sqrt() / scale,
        "features/variance_gap": (log_real - log_fake).abs().mean(),
        "features/dead_share": ((real == first).all(dim=0) & (fake == first).all(dim=0)).float().mean(),
        "features/effective_rank_real": participation(off_real),
        "features/effective_rank_fake": participation(off_fake),
        "features/similarity_real": similarity(real),
        "features/similarity_fake": similarity(fake),
    }


def participation(centred: Tensor) -> Tensor:
    """Participation ratio of the covariance of rows, in [1, min(n, f)]; 0 if all rows are equal.

    Args:
        centred: rows less their mean, shape (n, f).
    """
    gram = centred @ centred.T if len(centred) <= centred.shape[1] else centred.T @ centred
    trace = gram.diagonal().sum()
    return trace.square() / gram.square().sum().clamp_min(1e-30)


def similarity(x: Tensor) -> Tensor:
    """Mean cosine similarity over all pairs of different rows, in [-1, 1]. Shape (n, f)."""
    n = max(len(x), 2)
    unit = torch.nn.functional.normalize(x, dim=1)
    return (unit.sum(dim=0).square().sum() - unit.square().sum()) / (n * (n - 1))
