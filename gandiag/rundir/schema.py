"""What `run.json` holds, and how it is read: validated, bounded, and with a cure for each thing that can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from gandiag.errors import RunDirError
from gandiag.rundir._files import read_file
from gandiag.rundir._text import parse_object, plain

SCHEMA = "gandiag.run/1"
INFO_FILE = "run.json"
MAX_INFO = 16 << 20

_FAMILY, _VERSION = SCHEMA.split("/")

Name = Annotated[str, StringConstraints(max_length=1024)]
Count = Annotated[int, Field(ge=0, le=2**62)]


class RunInfo(BaseModel):
    """The facts about one run. Fields that this version does not know are kept as they are.

    Attributes:
        schema_: always `SCHEMA`; called `schema` in the file.
        id: names the run; stays the same over its attempts.
        created: when the run first started, ISO 8601, UTC.
        command: the command line that was run, or None if `gandiag.watch` was called from a script.
        cwd: the folder it was run in.
        environment: a digest of the environment and the GANDIAG_ variables; never the environment itself.
        git_commit: of the script, with "+dirty" where its folder had changes.
        versions: of python, torch, gandiag and others.
        device: what the networks were on.
        roles: which network is what: `{"generator": {"classes": [...], "parameters": int, "confidence": 0..1}, ...}`.
        d_calls: how often D was called, `{kind: {phase: count}}`.
        options: what the recording was told.
        techniques: those switched on, `[{"name": ..., "params": {...}}]`.
        parent: id or path of the run that this one retrains.
        ranks: how many processes trained.
        blind_spots: what the recording could not see, in words.
        status: "running" also after a kill -9: nobody was left to change it.
        loss_family: what D's outputs and gradients say the loss is.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    schema_: Literal["gandiag.run/1"] = Field(default="gandiag.run/1", alias="schema")
    id: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    created: Name = ""
    command: list[str] | None = None
    cwd: str | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    git_commit: Name | None = None
    versions: dict[str, Name] = Field(default_factory=dict)
    device: Name | None = None
    roles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    d_calls: dict[str, dict[str, Count]] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    techniques: list[dict[str, Any]] = Field(default_factory=list)
    parent: str | None = None
    ranks: Annotated[int, Field(ge=1, le=2**20)] = 1
    blind_spots: list[str] = Field(default_factory=list)
    status: Literal["running", "finished", "failed"] = "running"
    loss_family: Name | None = None

    @field_validator("roles")
    @classmethod
    def _roles(cls, roles: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, role in roles.items():
            if not _is_words(role.get("classes", [])):
                raise ValueError(f"roles.{name}.classes must be a list of class names")
            if not _is_number(role.get("parameters", 0), low=0):
                raise ValueError(f"roles.{name}.parameters must be a count")
            if not _is_number(role.get("confidence", 0), low=0, high=1):
                raise ValueError(f"roles.{name}.confidence must be a number from 0 to 1")
        return roles

    @field_validator("techniques")
    @classmethod
    def _techniques(cls, techniques: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for technique in techniques:
            if not isinstance(technique.get("name"), str) or not isinstance(technique.setdefault("params", {}), dict):
                raise ValueError('each technique must be {"name": text, "params": {...}}')
        return techniques

    @classmethod
    def of(cls, fields: dict[str, Any]) -> RunInfo:
        """Build from what a recording knows; tuples, paths and NumPy values become plain JSON.

        Raises:
            RunDirError: if a field has the wrong type, naming it.
        """
        try:
            return cls.model_validate(plain(fields))
        except (ValidationError, ValueError) as error:
            raise RunDirError(f"cannot record this run's facts: {first_fault(error)}") from None

    def to_json(self) -> bytes:
        """The text of `run.json`, indented for people.

        Raises:
            RunDirError: if it is longer than a reader would take.
        """
        data = self.model_dump_json(by_alias=True, indent=1).encode() + b"\n"
        if len(data) > MAX_INFO:
            raise RunDirError(
                f"this run's facts take {len(data)} bytes of {INFO_FILE}, at most {MAX_INFO}: record fewer"
            )
        return data


def read_info(directory: Path) -> RunInfo:
    """Read and check `run.json` of the run directory `directory`.

    Raises:
        RunDirError: if it is missing, too large, not JSON, of another program or of a newer gandiag.
    """
    path = directory / INFO_FILE
    try:
        data = read_file(path, MAX_INFO)
    except FileNotFoundError:
        raise RunDirError(
            f"{path} is missing: {directory} is not a run directory, or its recording has not begun; "
            "give the directory that `gandiag run` printed"
        ) from None
    except OSError as error:
        raise RunDirError(f"cannot read {path} ({error.strerror}): restore it from a copy, or record again") from None
    if not data.strip():
        raise RunDirError(f"{path} is an empty file, as a power cut leaves it: restore it from a copy, or record again")
    try:
        fields = parse_object(data)
    except ValueError as error:
        raise RunDirError(f"{path} is not readable JSON ({error}): restore it from a copy, or record again") from None
    _check_schema(path, fields.get("schema"))
    try:
        return RunInfo.model_validate(fields)
    except ValidationError as error:
        raise RunDirError(f"{path} is damaged ({first_fault(error)}): restore it from a copy, or edit it") from None


def first_fault(error: ValueError) -> str:
    """The first thing that a validation found, in one short line without the offending value's full text."""
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part)[:64] for part in fault["loc"])
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _check_schema(path: Path, schema: object) -> None:
    if schema == SCHEMA:
        return
    family, _, version = schema.partition("/") if isinstance(schema, str) else ("", "", "")
    if family != _FAMILY:
        raise RunDirError(
            f'{path} was not written by gandiag (its "schema" is not {SCHEMA!r}): give a directory of `gandiag run`'
        )
    if version.isascii() and version.isdigit() and len(version) < 10 and int(version) > int(_VERSION):
        raise RunDirError(
            f"{path} has the format {schema!r}, this gandiag reads {SCHEMA!r}: upgrade with `pip install -U gandiag`"
        )
    raise RunDirError(
        f"{path} names the unknown format {str(schema)[:64]!r}: this gandiag reads {SCHEMA!r}; record again"
    )


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: object, *, low: float, high: float = float("inf")) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high)
