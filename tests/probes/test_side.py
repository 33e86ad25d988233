"""The batches that wait for a snapshot: which are kept, which are let go."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gandiag.probes._side import Part, Side


def part(x: Tensor) -> Part:
    """A batch without D's part in it."""
    return Part(x, x._version, None, False, None)


@pytest.mark.parametrize("batch", [1, 3, 64, 5000])
def test_what_is_taken_are_the_newest_rows_and_no_batch_more(batch: int) -> None:
    """After any number of batches, those that together just reach the rows wanted."""
    side, wanted, batches = Side(100), 100, 250
    for i in range(batches):
        side.add(part(torch.full((batch, 2), float(i))))
    assert side.full()
    taken = [int(p.samples[0, 0]) for p in side.take()]
    needed = -(-wanted // batch)
    assert taken == list(range(batches - needed, batches))
    assert not side.full()
    assert side.take() == []


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_it_is_full_with_the_very_batch_that_fills_it(batch: int) -> None:
    """Asked after each batch, it says so at the first moment that it is true, also the second time."""
    side = Side(100)
    for _ in range(2):
        count = 0
        while not side.full():
            side.add(part(torch.zeros(batch, 2)))
            count += 1
        assert count == -(-100 // batch)
        side.take()


def test_memory_is_bounded() -> None:
    """A million rows later it holds no more than is wanted."""
    side = Side(None)
    most = 0
    for _ in range(2000):
        side.add(part(torch.zeros(500, 2)))
        most = max(most, len(side))
    assert most == 5


def test_of_several_resolutions_in_turn_the_largest_is_kept() -> None:
    """Three Ds that see the same pictures in three sizes: a snapshot has the large ones."""
    side = Side(64)
    for i in range(40):
        for size in (16, 8, 4):
            side.add(part(torch.full((16, 1, size, size), float(i))))
    assert side.full()
    taken = side.take()
    assert {p.samples.shape[-1] for p in taken} == {16}
    assert [int(p.samples[0, 0, 0, 0]) for p in taken] == [36, 37, 38, 39]


def test_a_buffer_that_is_filled_anew_is_copied_once_that_is_known() -> None:
    """Of one tensor that each batch is written into, no batch is taken for another."""
    side, buffer = Side(100), torch.zeros(20, 2)
    for i in range(40):
        buffer.fill_(i)
        side.add(part(buffer))
    assert side.full()
    assert [int(p.samples[0, 0]) for p in side.take()] == [35, 36, 37, 38, 39]


def test_samples_that_were_written_over_are_left_out() -> None:
    """What is no longer what D saw is not shown as if it were."""
    side = Side(100)
    xs = [torch.full((20, 2), float(i)) for i in range(5)]
    for x in xs:
        side.add(part(x))
    xs[1].fill_(9)
    assert not side.full()
    assert [int(p.samples[0, 0]) for p in side.take()] == [0, 2, 3, 4]
