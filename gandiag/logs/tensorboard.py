"""TensorBoard event files: of torch.utils.tensorboard, tensorboardX, TensorFlow 1 and 2, Lightning, StyleGAN."""

from __future__ import annotations

from pathlib import Path

from gandiag.errors import RunDirError
from gandiag.logs._axis import is_axis
from gandiag.logs._events import Damage, events, starts_with_record
from gandiag.logs._names import meaning
from gandiag.logs.base import COLUMNS, LARGEST_STEP, Log, Series, head, log_format, unreadable

TITLE = "a folder of TensorBoard events"
PATTERN = "*tfevents*"


def sniff(path: Path) -> bool:
    """An event file, or a folder with one in it or in its folders."""
    if path.is_dir():
        return bool(_files(path)) or any(_files(folder) for folder in _folders(path))
    return path.is_file() and ("tfevents" in path.name or starts_with_record(head(path)[:12]))


@log_format("tensorboard", title=TITLE, order=20, sniff=sniff)
def read(path: Path) -> Log:
    """Read the scalars of one training, which may be several files and, after `add_scalars`, several folders.

    Raises:
        RunDirError: if a file cannot be read, there is no scalar, or the folder holds several trainings.
    """
    reader = _Reader()
    if path.is_file():
        reader.read(path, "")
        return reader.log(path)
    folders = [folder for folder in _folders(path) if _files(folder)]
    own = _files(path)
    if not own and len(folders) > 1:
        names = ", ".join(folder.name for folder in folders[:8])
        raise RunDirError(
            f"{path} holds the event files of {len(folders)} trainings: give one of them "
            f"({names}{', ...' if len(folders) > 8 else ''})"
        )
    if not own:
        return read(folders[0])
    for file in own:
        reader.read(file, "")
    left_out = [folder.name for folder in folders if not reader.read_beside(folder)]
    if left_out:
        reader.notes.append(f"the folders {', '.join(left_out[:8])} hold other trainings and were left out")
    return reader.log(path)


def _files(folder: Path) -> list[Path]:
    """By name, as that holds the time at which the file was begun."""
    return sorted(file for file in folder.glob(PATTERN) if file.is_file())


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir())


class _Reader:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self._series: dict[str, Series] = {}
        self._negative = 0

    def read_beside(self, folder: Path) -> bool:
        """Read a folder that `add_scalars(tag, {name: ...})` made, which is called `tag_name`; False for any other."""
        beside = _Reader()
        for file in _files(folder):
            beside.read(file, f"{folder.name}/")
        tags = [name.removeprefix(f"{folder.name}/") for name in beside._series]
        if not tags or not all(folder.name.startswith(tag.replace("/", "_") + "_") for tag in tags):
            return False
        self._series |= beside._series
        self.notes += beside.notes
        return True

    def read(self, path: Path, prefix: str) -> None:
        """Add the scalars of a file; those that no analyzer knows are only named."""
        damage = Damage()
        try:
            with path.open("rb") as file:
                for event in events(file, damage):
                    if event.restart and event.step > 0:
                        for series in self._series.values():
                            series.cut(event.step)
                    for tag, value in event.scalars:
                        self._add(prefix + tag, event.step, value)
        except OSError as error:
            raise unreadable(path, error) from None
        if damage.end is not None:
            self.notes.append(f"{path.name} is torn or foreign from byte {damage.end:,} on: read up to there")
        if damage.bad:
            self.notes.append(f"{path.name}: {damage.bad} damaged records were left out")

    def _add(self, name: str, step: int, value: float) -> None:
        if name not in self._series:
            if is_axis(name) or len(self._series) >= COLUMNS:
                return
            self._series[name] = Series()
        if not 0 <= step <= LARGEST_STEP:
            self._negative += 1
        elif meaning(name) is not None:
            self._series[name].add(step, value)

    def log(self, path: Path) -> Log:
        """What was read.

        Raises:
            RunDirError: if there was no scalar.
        """
        if self._negative:
            self.notes.append(f"{self._negative} points with an impossible step were left out")
        if len(self._series) >= COLUMNS:
            self.notes.append(f"only the first {COLUMNS} tags were read")
        if not self._series:
            why = f" ({'; '.join(self.notes)})" if self.notes else ""
            raise RunDirError(f"{path} holds no TensorBoard scalar{why}: give the folder that the writer was given")
        return Log(path=path, title=TITLE, series=self._series, axis="steps", notes=tuple(self.notes))
