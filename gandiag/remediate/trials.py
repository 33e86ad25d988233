"""A trial: one training as plain data, so that any executor on any machine can run it.

Only trials and run directories pass between the parts of a remediation; no function, no object of the
training, nothing that would have to be pickled.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from gandiag.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training of the recorded command.

    Attributes:
        name: `ARM-seedK`, unique in a remediation.
        command: the recorded command line, word by word.
        cwd: the folder it was recorded in, where it runs again.
        run_dir: the run directory that it leaves.
        seed_offset: added to every seed that the script sets.
        max_iterations: training ends here, at the same iteration for every arm that is compared.
        techniques: what is switched on, as `r1:gamma=0.1`; empty for the control arm.
        run_options: further words for `gandiag run`, such as `--generator NAME` where the recording needed them.
        environment: variables that are added to the executor's own.
        parent: path of the run that this one tries to repair.
        stop_early: whether a training that cannot recover may be ended before `max_iterations`.
    """

    name: str
    command: tuple[str, ...]
    cwd: str
    run_dir: str
    seed_offset: int
    max_iterations: int
    techniques: tuple[str, ...] = ()
    run_options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    stop_early: bool = False

    def argv(self) -> list[str]:
        """The command line of this trial: the recorded command under `gandiag run`."""
        enabled = [word for technique in self.techniques for word in ("--enable", technique)]
        # Through the module, not the script `gandiag`: it needs no PATH and is surely of this installation.
        parent = ("--parent", self.parent) if self.parent else ()
        return [
            *(sys.executable, "-m", "gandiag_cli", "run"),
            *("--run-dir", self.run_dir),
            *("--seed-offset", str(self.seed_offset)),
            *("--max-iterations", str(self.max_iterations)),
            *parent,
            *self.run_options,
            *enabled,
            *("--", *self.command),
        ]

    def to_json(self) -> str:
        """This trial as one JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Trial:
        """The trial that `to_json` wrote.

        Raises:
            UsageError: if a field is missing or unknown.
        """
        values: dict[str, Any] = json.loads(text)
        for name in ("command", "techniques", "run_options"):
            values[name] = tuple(values.get(name, ()))
        try:
            return cls(**values)
        except TypeError as error:
            known = ", ".join(each.name for each in fields(cls))
            raise UsageError(f"not a trial ({error}); its fields are {known}") from None
