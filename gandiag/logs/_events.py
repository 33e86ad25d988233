"""Scalars from TensorBoard event files, read byte by byte.

gandiag reads the files itself: the framing is twenty lines and has not changed since 2015, of the protocol buffers only
five small messages matter, so that no extra has to be installed, and damage costs one record instead of the file.

A file is a row of records: length (uint64), masked CRC-32C of the length, payload, masked CRC-32C of the payload. A
payload is an `Event`. Source: TensorFlow's `core/lib/io/record_writer.h`, `core/util/event.proto`,
`core/framework/summary.proto` and `tensor.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

LARGEST = 64 << 20
"""Bytes of a record; a larger one is not read but passed over."""
CHECKED = 1 << 16
"""Bytes up to which a payload's checksum is verified: what is larger holds pictures, and NumPy would crawl over it."""
BATCH = 4096
"""Records whose checksums are computed side by side; fewer where they are large."""

_HEADER = struct.Struct("<QI")
_MASK = 0xA282EAD8


def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table.astype(np.uint32)


_CRC = _table()
_CRC_LIST: list[int] = _CRC.tolist()


def masked_crc(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The masked CRC-32C of each row of [n, length] bytes, uint32 [n].

    >>> hex(int(masked_crc(np.frombuffer(b"123456789", dtype=np.uint8)[None])[0]))
    '0xc78ab0e5'
    """
    crc = np.full(len(rows), 0xFFFFFFFF, dtype=np.uint32)
    for column in rows.T:
        crc = _CRC[(crc ^ column) & 0xFF] ^ (crc >> np.uint32(8))
    crc = ~crc
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(_MASK)


def starts_with_record(data: bytes) -> bool:
    """Whether bytes begin as an event file does: with a length and its checksum."""
    if len(data) < _HEADER.size:
        return False
    crc = 0xFFFFFFFF
    for byte in data[:8]:  # forty times as fast as NumPy is for one row
        crc = _CRC_LIST[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    masked = (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF
    return bool(masked == _HEADER.unpack_from(data)[1])


@dataclass
class Damage:
    """What of a file could not be read.

    Attributes:
        bad: records whose checksum or content is wrong.
        end: byte at which reading had to stop, or None where the whole file was read.
    """

    bad: int = 0
    end: int | None = None


@dataclass
class Event:
    """The part of an `Event` that matters.

    Attributes:
        step: global step.
        scalars: (tag, value) of each single number in it.
        restart: the event says that the training starts again from this step.
    """

    step: int = 0
    scalars: list[tuple[str, float]] = field(default_factory=list)
    restart: bool = False


def events(file: BinaryIO, damage: Damage) -> Iterator[Event]:
    """The events of a file in their order; what is damaged is left out and counted."""
    batch: list[tuple[bytes, int]] = []
    size = 0
    for record in _records(file, damage):
        batch.append(record)
        size += len(record[0])
        if len(batch) == BATCH or size > LARGEST:
            yield from _parsed(batch, damage)
            batch, size = [], 0
    yield from _parsed(batch, damage)


def _records(file: BinaryIO, damage: Damage) -> Iterator[tuple[bytes, int]]:
    """Payloads with their checksums; stops where a length cannot be trusted, as then nothing says what comes next."""
    size = file.seek(0, 2)
    offset = file.seek(0)
    while header := file.read(_HEADER.size):
        length = _HEADER.unpack(header)[0] if len(header) == _HEADER.size else size
        end = offset + _HEADER.size + length + 4
        if end > size or not starts_with_record(header):
            damage.end = offset
            return
        if length <= LARGEST:
            payload, crc = file.read(length), file.read(4)
            if len(crc) < 4:  # the file shrank under us
                damage.end = offset
                return
            yield payload, int.from_bytes(crc, "little")
        else:
            file.seek(end)
        offset = end


def _parsed(batch: list[tuple[bytes, int]], damage: Damage) -> Iterator[Event]:
    by_length: dict[int, list[int]] = {}
    for index, (payload, _) in enumerate(batch):
        by_length.setdefault(len(payload), []).append(index)
    sound = np.ones(len(batch), dtype=bool)
    for length, indices in by_length.items():
        if length <= CHECKED:
            rows = np.frombuffer(b"".join(batch[index][0] for index in indices), dtype=np.uint8)
            expected = np.array([batch[index][1] for index in indices], dtype=np.uint32)
            sound[indices] = masked_crc(rows.reshape(len(indices), length)) == expected
    for (payload, _), right in zip(batch, sound.tolist(), strict=True):
        try:
            if not right:
                raise ValueError("wrong checksum")
            yield _event(payload)
        except (ValueError, IndexError, struct.error):
            damage.bad += 1


def _event(payload: bytes) -> Event:
    event = Event()
    for number, value in _fields(payload):
        if number == 2 and isinstance(value, int):
            event.step = value - (1 << 64) if value >= 1 << 63 else value
        elif number == 5 and isinstance(value, bytes):
            event.scalars += [found for key, one in _fields(value) if key == 1 and (found := _scalar(one)) is not None]
        elif number == 7 and isinstance(value, bytes):
            event.restart = any(key == 1 and status == 1 for key, status in _fields(value))
    return event


def _scalar(value: int | bytes) -> tuple[str, float] | None:
    """Tag and number of a `Summary.Value`, or None where it is a picture, a histogram, a text."""
    if not isinstance(value, bytes):
        raise ValueError("a summary's value is no message")
    tag, found = "", None
    for number, part in _fields(value):
        if number == 1 and isinstance(part, bytes):
            tag = part.decode(errors="replace")
        elif number == 2 and isinstance(part, bytes) and len(part) == 4:
            found = float(struct.unpack("<f", part)[0])
        elif number == 8 and isinstance(part, bytes):
            found = _tensor(part)
    return None if found is None else (tag, found)


_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 6: "i1", 4: "u1", 9: "<i8", 19: "<f2"}
_PACKED = {5: "<f4", 6: "<f8"}


def _tensor(payload: bytes) -> float | None:
    """The number in a `TensorProto` of one number, as TensorFlow 2 writes scalars; None where it is none."""
    dtype, content = 0, b""
    values: list[float] = []
    for number, part in _fields(payload):
        if number == 1 and isinstance(part, int):
            dtype = part
        elif number == 2 and isinstance(part, bytes) and not _is_single(part):
            return None
        elif number == 4 and isinstance(part, bytes):
            content = part
        elif number in _PACKED and isinstance(part, bytes):
            values += np.frombuffer(part, dtype=_PACKED[number]).tolist()
        elif number in (7, 10, 11):  # integers and booleans, packed or one by one
            values += _varints(part) if isinstance(part, bytes) else [_signed(part)]
        elif number == 13:  # the bits of half precision numbers, as integers
            bits = _varints(part) if isinstance(part, bytes) else [part]
            words = np.array(bits, dtype=np.uint16)
            wide = words.astype(np.uint32) << 16
            values += (wide.view(np.float32) if dtype == 14 else words.view(np.float16)).tolist()  # 14 is bfloat16
    if content and dtype == 14:
        values = (np.frombuffer(content, dtype="<u2").astype(np.uint32) << 16).view(np.float32).tolist()
    elif content and dtype in _TYPES:
        values = np.frombuffer(content, dtype=_TYPES[dtype]).tolist()
    return float(values[0]) if len(values) == 1 else None


def _is_single(shape: bytes) -> bool:
    """Whether a `TensorShapeProto` is that of one number: no dimension, or each of size 1."""
    sizes = []
    for number, dimension in _fields(shape):
        if number == 2 and isinstance(dimension, bytes):
            sizes.append(next((size for key, size in _fields(dimension) if key == 1), 0))
    return all(size == 1 for size in sizes)


def _varints(packed: bytes) -> list[int]:
    values, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        values.append(_signed(value))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a message: integers for varints, raw bytes for everything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"unknown wire type {kind}")
        length, at = _varint(data, at) if kind == 2 else (8 if kind == 1 else 4, at)
        if at + length > len(data):
            raise ValueError("a field is longer than its message")
        yield key >> 3, data[at : at + length]
        at += length
