"""What a training process says of itself."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from search.worker.child import OverMemoryLimit, Pulsing, check_memory, failure_of, peak_memory_mb


def test_pulse_tells_of_computing_and_not_of_waiting() -> None:
    ours, theirs = multiprocessing.Pipe()
    with Pulsing(theirs, memory_limit_mb=None, every_seconds=0.1):
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            sum(range(1000))
        assert ours.poll(0)
        n_intervals_heard = 0
        while ours.poll(0.3):  # now and then others in this process compute a little
            ours.recv()
            n_intervals_heard += 1
            assert n_intervals_heard < 100, "it never falls silent"


def test_memory_is_measured_in_megabytes_and_held_against_the_limit() -> None:
    check_memory(None)
    check_memory(peak_memory_mb() + 1000)
    with pytest.raises(OverMemoryLimit, match=r"used \d+ MB, over its limit of 1 MB"):
        check_memory(1)


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (MemoryError("no more\nof it"), "memory", "no more"),
        (OverMemoryLimit("too much"), "memory", "too much"),
        (type("ResourceExhaustedError", (Exception,), {})("OOM"), "memory", "OOM"),
        (type("Diverged", (Exception,), {})("loss is nan"), "diverged", "loss is nan"),
        (KeyError("a bug"), "error", "KeyError: 'a bug'"),
        (RuntimeError(), "error", "RuntimeError: RuntimeError"),
    ],
)
def test_lack_of_memory_and_divergence_are_told_from_bugs(error: Exception, kind: str, reason: str) -> None:
    failure = failure_of(error)
    assert (failure.kind, failure.reason) == (kind, reason)
