"""TensorBoard event files: real ones, and all that can be wrong with them."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.event_files import crc32c, event, message, record, scalar, tensor, varint, write_events

from gandiag.errors import RunDirError
from gandiag.logs import FORMATS, Log, find
from gandiag.logs._events import masked_crc, starts_with_record

EVENTS = Path(__file__).parent / "data" / "events"
NAME = "events.out.tfevents.1700000000.host"


def read(path: Path) -> Log:
    found = find(path)
    assert found is FORMATS["tensorboard"]
    return found.read(path)


def values(log: Log, name: str) -> list[float]:
    return log.series[name].points()[1].tolist()


def test_a_folder_of_torchs_own_writer() -> None:
    """Scalars in the old and the new style, `add_scalars` with its folders, NaN; pictures and texts are none."""
    log = read(EVENTS)
    steps, losses = log.series["Loss/D"].points()
    assert steps.tolist() == list(range(40))
    assert np.flatnonzero(np.isnan(losses)).tolist() == [7]
    assert values(log, "Loss/G") == [0.5 + step / 8 for step in range(40)]
    assert values(log, "scores_real/scores") == [step / 4 for step in range(40)]
    assert set(log.series) == {"Loss/D", "Loss/G", "scores_real/scores", "scores_fake/scores", "lr"}
    assert log.notes == ()


def test_the_checksum_is_crc_32c() -> None:
    """Equal to a twin that goes bit by bit, for many rows at once."""
    rows = np.random.default_rng(0).integers(0, 256, (7, 33), dtype=np.uint8)
    assert masked_crc(rows).tolist() == [crc32c(row.tobytes()) for row in rows]
    assert crc32c(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF  # RFC 3720
    assert starts_with_record(record(b"x")[:12])
    assert not starts_with_record(b"PK\x03\x04" + bytes(8))


@pytest.mark.parametrize(
    "body",
    [
        b"\x08\x01" + message(5, struct.pack("<f", 0.5)),
        b"\x08\x01\x12\x00" + message(4, struct.pack("<f", 0.5)),
        b"\x08\x02" + message(6, struct.pack("<d", 0.5)),
        b"\x08\x02" + message(4, struct.pack("<d", 0.5)),
        b"\x08\x13" + message(13, varint(0x3800)),
        b"\x08\x0e" + message(13, varint(0x3F00)),
        b"\x08\x0e" + message(4, b"\x00\x3f"),
        b"\x08\x01" + message(2, message(2, b"\x08\x01")) + b"\x2d" + struct.pack("<f", 0.5),
    ],
    ids=["float", "content", "double", "double-content", "half", "bfloat16", "bfloat16-content", "one-element"],
)
def test_scalars_as_tensors(tmp_path: Path, body: bytes) -> None:
    """TensorFlow 2 writes a scalar as a tensor of one number, of any type, in several ways."""
    write_events(tmp_path / NAME, [event(1, tensor("loss_d", body))])
    assert values(read(tmp_path), "loss_d") == [0.5]


def test_integers_as_tensors(tmp_path: Path) -> None:
    """Negative ones are ten bytes of varint."""
    write_events(tmp_path / NAME, [event(1, tensor("loss_d", b"\x08\x09" + message(10, varint(-3))))])
    assert values(read(tmp_path), "loss_d") == [-3.0]


def test_a_tensor_of_many_numbers_is_no_scalar(tmp_path: Path) -> None:
    """Histograms and the like are passed over."""
    many = b"\x08\x01" + message(2, message(2, b"\x08\x03")) + message(4, bytes(12))
    write_events(tmp_path / NAME, [event(1, tensor("loss_d", many), scalar("loss_g", 2.0))])
    assert set(read(tmp_path).series) == {"loss_g"}


def test_several_files_are_one_training(tmp_path: Path) -> None:
    """A resumed run writes the next file; of two values at one step the later file's counts in the table."""
    write_events(tmp_path / f"{NAME}.0", [event(step, scalar("loss_d", 1.0)) for step in range(5)])
    write_events(tmp_path / f"{NAME}.1", [event(step, scalar("loss_d", 2.0)) for step in range(3, 8)])
    from gandiag.logs import tabulate

    assert tabulate(read(tmp_path)).scalars["loss/d"].tolist() == [1, 1, 1, 2, 2, 2, 2, 2]


def test_a_restart_forgets_what_it_repeats(tmp_path: Path) -> None:
    """`purge_step`: what was logged from there on did not happen, as TensorBoard has it, too."""
    restart = b"\x10" + varint(3) + message(7, b"\x08\x01")
    before = [event(step, scalar("loss_d", 1.0)) for step in range(10)]
    write_events(tmp_path / NAME, [*before, restart, event(3, scalar("loss_d", 2.0))])
    steps, found = read(tmp_path).series["loss_d"].points()
    assert steps.tolist() == [0, 1, 2, 3]
    assert found.tolist() == [1, 1, 1, 2]


def test_folders_of_other_trainings_are_left_out_or_asked_for(tmp_path: Path) -> None:
    """One run beside others is read alone; several of equal rank must be told apart by the user; one alone is it."""
    for name in ("first", "second"):
        write_events(tmp_path / name / NAME, [event(1, scalar("loss_d", 1.0))])
    with pytest.raises(RunDirError, match=r"2 trainings: give one of them \(first, second\)"):
        read(tmp_path)
    assert values(read(tmp_path / "first"), "loss_d") == [1.0]
    write_events(tmp_path / NAME, [event(1, scalar("loss_d", 3.0))])
    log = read(tmp_path)
    assert values(log, "loss_d") == [3.0]
    assert any("first, second hold other trainings" in note for note in log.notes)


def test_a_damaged_record_costs_only_itself(tmp_path: Path) -> None:
    """A payload whose checksum is wrong is left out and counted; the rest of the file is read."""
    parts = [record(event(step, scalar("loss_d", float(step)))) for step in range(3)]
    parts[1] = parts[1][:20] + bytes([parts[1][20] ^ 1]) + parts[1][21:]
    (tmp_path / NAME).write_bytes(b"".join(parts))
    log = read(tmp_path)
    assert values(log, "loss_d") == [0.0, 2.0]
    assert any("1 damaged records" in note for note in log.notes)


def test_a_file_torn_at_any_byte_gives_what_was_whole(tmp_path: Path) -> None:
    """At every length the whole records before it are read, or nothing was whole and the message says so."""
    records = [record(event(step, scalar("loss_d", float(step)))) for step in range(4)]
    whole, ends = b"".join(records), np.cumsum([len(part) for part in records])
    path = tmp_path / NAME
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        count = int((ends <= length).sum())
        if count:
            assert values(read(path), "loss_d") == [float(step) for step in range(count)]
        else:
            with pytest.raises(RunDirError, match="no TensorBoard scalar"):
                read(path)


def test_no_bytes_raise_anything_but_rundirerror(tmp_path: Path) -> None:
    """Random damage behind correct checksums, too: hostile lengths, wrong wire types, endless varints."""
    rng = random.Random(0)
    good = event(1, scalar("loss_d", 1.0), tensor("loss_g", b"\x08\x01" + message(5, struct.pack("<f", 0.5))))
    path = tmp_path / NAME
    for _ in range(300):
        payload = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            payload[rng.randrange(len(payload))] = rng.randrange(256)
        path.write_bytes(record(good) + record(bytes(payload)))
        assert values(read(path), "loss_d")[0] == 1.0
    for length in (2**63, 2**40, 2**31):
        head = struct.pack("<Q", length)
        path.write_bytes(record(good) + head + struct.pack("<I", crc32c(head)) + b"short")
        log = read(path)
        assert values(log, "loss_d") == [1.0]
        assert any("torn or foreign" in note for note in log.notes)


def test_impossible_steps_are_left_out(tmp_path: Path) -> None:
    """A negative step cannot be placed."""
    write_events(tmp_path / NAME, [event(-1, scalar("loss_d", 1.0)), event(2, scalar("loss_d", 2.0))])
    log = read(tmp_path)
    assert values(log, "loss_d") == [2.0]
    assert any("impossible step" in note for note in log.notes)


@pytest.mark.parametrize("content", [b"", b"no events at all, but a text that is long enough", bytes(64)])
def test_a_foreign_file_of_that_name_is_refused(tmp_path: Path, content: bytes) -> None:
    """One message that says what was found and what to give."""
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(RunDirError, match="give the folder"):
        read(tmp_path)


def test_an_event_file_of_any_name_is_recognised(tmp_path: Path) -> None:
    """By its first record."""
    assert values(read(write_events(tmp_path / "log", [event(1, scalar("loss_d", 1.0))])), "loss_d") == [1.0]
