"""A look at an Arrow stream's messages before Arrow unpacks them.

Arrow decompresses while it reads, and a few compressed kilobytes can claim terabytes: by the time that a batch says
how many rows it has, the memory is taken. gandiag writes nothing compressed, so what is compressed is not its own.
pyarrow does not tell whether a message is; its FlatBuffers metadata does.

Source: Apache Arrow, format/Message.fbs, tables `Message` and `RecordBatch`; FlatBuffers, "internals".
"""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

# The fields' places in their tables.
_MESSAGE_HEADER = 2
_BATCH_COMPRESSION = 3


def plain_batches(data: pa.Buffer) -> tuple[int, str | None]:
    """How many batches the stream begins with that gandiag may have written, and what comes then if it is foreign.

    A torn tail is no business of this: reading proper will meet it.
    """
    import pyarrow as pa

    messages = pa.ipc.MessageReader.open_stream(data)
    seen = 0
    with contextlib.suppress(StopIteration, pa.ArrowInvalid, OSError):
        kind = "schema"
        while True:
            message = messages.read_next_message()
            if message.type != kind:
                return seen, f"a {message.type} message where gandiag writes a {kind}"
            if kind == "record batch":
                if _is_compressed(message.metadata.to_pybytes()):
                    return seen, "compressed batches, which gandiag never writes"
                seen += 1
            kind = "record batch"
    return seen, None


def _is_compressed(metadata: bytes) -> bool:
    # Arrow has verified these bytes as a `Message` before it handed them out.
    header = _field(metadata, _follow(metadata, 0), _MESSAGE_HEADER)
    return _field(metadata, _follow(metadata, header), _BATCH_COMPRESSION) != 0


def _field(metadata: bytes, table: int, index: int) -> int:
    """The place of a table's field number `index`, 0 if it is absent."""
    (back,) = struct.unpack_from("<i", metadata, table)
    (size,) = struct.unpack_from("<H", metadata, table - back)
    if 4 + 2 * index >= size:
        return 0
    (offset,) = struct.unpack_from("<H", metadata, table - back + 4 + 2 * index)
    return table + offset if offset else 0


def _follow(metadata: bytes, place: int) -> int:
    return place + int(struct.unpack_from("<I", metadata, place)[0])
