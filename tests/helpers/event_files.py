"""Event files written byte by byte, with a slow checksum of their own: what `gandiag.logs` reads is made without it."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path


def crc32c(data: bytes) -> int:
    """CRC-32C bit by bit, masked as TensorFlow does it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def record(payload: bytes) -> bytes:
    """A payload in its frame."""
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", crc32c(length)) + payload + struct.pack("<I", crc32c(payload))


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def scalar(tag: str, value: float) -> bytes:
    """A `Summary.Value` with a simple value."""
    return message(1, tag.encode()) + b"\x15" + struct.pack("<f", value)


def tensor(tag: str, body: bytes) -> bytes:
    """A `Summary.Value` with a tensor."""
    return message(1, tag.encode()) + message(8, body)


def event(step: int, *values: bytes) -> bytes:
    """An `Event` with a wall time, a step and values."""
    clock = b"\x09" + struct.pack("<d", 1.7e9)
    return clock + b"\x10" + varint(step) + message(5, b"".join(message(1, value) for value in values))


def write_events(path: Path, payloads: Iterable[bytes]) -> Path:
    """Write payloads as an event file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(record, payloads)))
    return path
