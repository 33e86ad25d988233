"""Diagnoses and views made by hand: what the report renders, without the cost of a recorded run."""

from __future__ import annotations

from typing import Any

import numpy as np

from gandiag.report.view import View
from gandiag.rundir import Snapshot

ITERATIONS = 1000
STEPS = (1, 10, 50, 100, 400, 700, 1000)

#: Everything that a run directory could say to hurt its reader.
HOSTILE = "<script>alert(1)</script>[bold]\x1b[2J\u202e$\\frac$ \"' onload=x 字 \U0001f480"


def measure(value: float | None, null: float | None = 0.96, width: float = 0.02) -> dict[str, Any]:
    """One metric as `to_json` gives it; None where it is not finite."""

    def around(centre: float | None, sign: int) -> float | None:
        return None if centre is None else centre + sign * width

    return {
        "value": value,
        "low": around(value, -1),
        "high": around(value, 1),
        "null": null,
        "null_low": around(null, -1),
        "null_high": around(null, 1),
        "n_real": 500,
        "n_fake": 500,
    }


def mode(key: int, state: str = "ok", **fields: Any) -> dict[str, Any]:
    """One row of the mode table in the given state."""
    fake = {"missing": 0.0, "under": 0.02, "over": 0.4}.get(state, 0.12)
    spread = {"missing": None, "shrunken": 0.2}.get(state, 0.97)
    made = {"id": key, "real_share": 0.125, "fake_share": fake, "spread_ratio": spread, "state": state}
    return {**made, "p_adjusted": 0.5 if state == "ok" else 1e-9, **fields}


def collapsed(**fields: Any) -> dict[str, Any]:
    """The diagnosis of a run that lost two of eight modes; `fields` replace its own."""
    states = ["missing", "ok", "under", "missing", "shrunken", "over", "ok", "ok"]
    return {
        "schema": "gandiag.diagnosis/1",
        "run_dir": "runs/ring",
        "verdict": "collapsed",
        "iterations": ITERATIONS,
        "loss_family": "bce",
        "findings": [
            {
                "code": "GD201",
                "name": "d-too-strong",
                "severity": "warning",
                "confidence": "medium",
                "first_step": 600,
                "last_step": 1000,
                "message": "D tells real from fake with ease",
                "evidence": {"accuracy": 0.991},
            },
            {
                "code": "GD101",
                "name": "modes-missing",
                "severity": "critical",
                "confidence": "high",
                "first_step": 400,
                "last_step": 1000,
                "message": "2 of 8 modes are never generated",
                "evidence": {"missing_modes": [0, 3], "last_healthy_snapshot": 100},
            },
        ],
        "modes": {
            "count_real": 8,
            "count_captured": 6,
            "source": "clusters",
            "modes": [mode(key, state) for key, state in enumerate(states)],
        },
        "metrics": {"coverage": measure(0.59), "precision": measure(0.95), "recall": measure(None)},
        "skipped": [{"code": "GD303", "because": "gradients were not recorded"}],
        "recommendations": [
            {
                "techniques": [{"name": "rpgan_r1_r2", "params": {"gamma": 0.1}}],
                "treats": ["GD101", "GD201"],
                "reasons": ["the strongest evidence against missing modes"],
                "cautions": ["a step takes 2.5 times the time"],
                "score": 0.8,
            }
        ],
        "blind_spots": ["labels were not given"],
        **fields,
    }


def healthy(**fields: Any) -> dict[str, Any]:
    """The diagnosis of a run without findings."""
    modes = {"count_real": 8, "count_captured": 8, "source": "labels", "modes": [mode(key) for key in range(8)]}
    plain = {"verdict": "healthy", "findings": [], "recommendations": [], "skipped": [], "blind_spots": []}
    return collapsed(**plain, modes=modes, metrics={"coverage": measure(0.95)}, **fields)


def scalars(iterations: int = ITERATIONS, *, fill: float | None = None) -> dict[str, np.ndarray]:
    """All columns that the figures read: noise, or `fill` everywhere."""
    rng = np.random.default_rng(0)
    names = ["loss/d", "loss/g", *(f"grad/{net}/{part}" for net in "dg" for part in ("total", "net.0.weight"))]
    names += [f"d/logits/{side}/{part}" for side in ("real", "fake") for part in ("mean", "q05", "q95")]
    columns = {name: np.exp(0.3 * rng.standard_normal(iterations)) for name in names}
    if fill is not None:
        columns = {name: np.full(iterations, fill) for name in names}
    made = {name: values.astype(np.float32) for name, values in columns.items()}
    return {"iteration": np.arange(1, iterations + 1), **made}


def snapshot(*, d: int = 2, rows: int = 60, thumbs: bool = True, step: int = ITERATIONS) -> Snapshot:
    """Samples of real and fake, with thumbnails of 8 x 8."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, (20, 8, 8, 1)).astype(np.uint8) if thumbs else None
    return Snapshot(
        step=step,
        real=rng.standard_normal((rows, d)).astype(np.float32),
        fake=rng.standard_normal((rows, d)).astype(np.float32),
        thumbs_real=images,
        thumbs_fake=images,
    )


def view(diagnosis: dict[str, Any] | None = None, **fields: Any) -> View:
    """A whole run, ready to be drawn; `fields` replace its own."""
    known: dict[str, Any] = {
        "diagnosis": collapsed() if diagnosis is None else diagnosis,
        "command": ["python", "train.py", "--lr", "0.001"],
        "facts": [("device", "cpu")],
        "scalars": scalars(),
        "steps": STEPS,
        "series": {name: [measure(value)] * len(STEPS) for name, value in (("coverage", 0.6), ("recall", None))},
        "captured": [1, 4, 6, 8, 7, 6, 6],
        "snapshot": snapshot(),
    }
    return View(**{**known, **fields})
