"""Where a run comes from: the command, the commit, the environment and the networks."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn


def own_command() -> list[str] | None:
    """The command that started this process, or None where running it again would not train (notebooks)."""
    if "ipykernel" in sys.modules or not getattr(sys, "orig_argv", None):
        return None
    words = [sys.executable, *sys.orig_argv[1:]]
    return None if len(words) < 2 or words[1] in ("-c", "-") else words


def git_commit(folder: Path) -> str | None:
    """The commit checked out around `folder`, read from .git without running git."""
    for home in (folder, *folder.parents):
        head = home / ".git" / "HEAD"
        if not head.is_file():
            continue
        try:
            text = head.read_text(encoding="utf-8").strip()
            if text.startswith("ref: "):
                text = (home / ".git" / text[5:]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None  # packed refs, worktrees: a commit is worth having, not worth more code
        return text[:64]
    return None


def environment() -> dict[str, Any]:
    """GANDIAG_ variables as they are, and a digest of the rest: other variables hold keys and names."""
    own = {key: value for key, value in os.environ.items() if key.startswith("GANDIAG_")}
    facts = json.dumps([sys.version, str(torch.__version__), platform.platform(), sorted(os.environ)])
    return {"digest": hashlib.sha256(facts.encode()).hexdigest(), **own}


def describe(nets: list[nn.Module], confidence: float) -> dict[str, Any]:
    """One role for run.json: classes, parameters, kinds of layers."""
    layers: dict[str, int] = {}
    for net in nets:
        for module in net.modules():
            if not list(module.children()):
                layers[type(module).__name__] = layers.get(type(module).__name__, 0) + 1
    return {
        "classes": [type(net).__name__ for net in nets],
        "parameters": sum(p.numel() for net in nets for p in net.parameters()),
        "confidence": confidence,
        "layers": layers,
        **({"shards": count} if (count := shards(nets)) > 1 else {}),
    }


def shards(nets: Iterable[nn.Module]) -> int:
    """Over how many ranks one copy of the nets' parameters is spread (FSDP, tensor parallelism); 1 where it is not.

    As DTensors say it. FSDP's first version keeps its shards in plain tensors.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    counts = [1]
    for net in nets:
        for p in net.parameters():
            sizes = zip(
                getattr(p, "placements", ()), getattr(getattr(p, "device_mesh", None), "shape", ()), strict=True
            )
            counts.append(prod(size for place, size in sizes if place.is_shard()))
        for module in net.modules():
            if type(module).__name__ == "FullyShardedDataParallel":
                whole = getattr(module, "sharding_strategy", None)
                group: Any = getattr(module, "process_group", None)
                counts.append(1 if getattr(whole, "name", "") == "NO_SHARD" else group.size())
    return max(counts)
