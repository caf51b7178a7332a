"""What may trainings take? How many run at a time, on how many threads, in which precision, and how much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fmnist.training.precision import has_fast_bfloat16
from search.config import StudyConfig
from search.system.machine import default_workers, has_gpu, total_memory_mb

SHARE_OF_MEMORY = 0.8  # of a machine's, for trainings


@dataclass(frozen=True)
class Resources:
    """What a run's trainings share: the cores of this machine, or those of a cluster's nodes."""

    workers: int  # trainings at a time
    n_threads: int  # of each of them
    most_threads: int  # that a single training can have: the cores of this machine, or of the largest node
    bfloat16: bool  # steps of learning convolve in bfloat16
    memory_mb: float | None  # of all trainings together; None: each node limits those that it runs
    memory_limit_mb: float | None  # of each, as the user has set it; None: not set
    most_workers: int  # trainings at a time, should a cluster grow
    nodes: Mapping[str, str] = field(default_factory=dict)  # of a cluster: its machines' addresses, and what they are

    def memory_limit_of_each(self, n_processes: int) -> float | None:
        """Return the megabytes that each of so many trainings may take; None: the node that runs it says."""
        if self.memory_limit_mb is not None or self.memory_mb is None:
            return self.memory_limit_mb
        return self.memory_mb / n_processes


def local_resources(config: StudyConfig) -> Resources:
    """Return what this machine gives to a run: its cores, shared equally, and most of its memory."""
    workers, cores = config.workers or default_workers(), default_workers()
    n_threads = max(1, cores // workers)
    return Resources(
        workers=workers,
        n_threads=n_threads,
        most_threads=max(cores, n_threads * workers),
        bfloat16=in_bfloat16(config, is_faster=has_fast_bfloat16() and not has_gpu()),
        memory_mb=SHARE_OF_MEMORY * total_memory_mb(),
        memory_limit_mb=config.memory_limit_mb,
        most_workers=workers,
    )


def in_bfloat16(config: StudyConfig, *, is_faster: bool) -> bool:
    """Return whether steps of learning convolve in bfloat16; is_faster: it is, where the trainings run."""
    if config.precision == "auto":
        return is_faster
    return config.precision == "bfloat16"
