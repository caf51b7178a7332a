"""How much memory and disk a run will take at its highest: arithmetic alone."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnist.cli import nearest_existing
from fmnist.model.layers import count_parameters
from search.estimate.phases import Job
from search.estimate.simulation import Rehearsal
from search.front.choice import MOST_POINTS
from search.records.models import DataRecord
from search.refit.schedule import MOST_FINALISTS, N_FINALISTS, n_parallel_trainings
from search.system.option_checks import FRONT_FORMATS
from search.worker.probes import Probe

BYTES_A_TRIAL = 20_000  # of the database, for its report and its share of the pages (one study of digits: 14,000)
BYTES_OF_PAGES = 6_000_000  # report, its pictures, and records
BYTES_A_WEIGHT = 4.2  # of a saved model


@dataclass(frozen=True)
class Memory:
    """The memory that a run takes at its highest, in megabytes."""

    of_worker: float
    in_all: float  # pages that processes share counted for each: rather too much


def estimate_memory(probes: Sequence[Probe], supervisor_mb: float, job: Job) -> Memory:
    """Estimate the memory of a run: a full training holds its images as its own; trials map them.

    supervisor_mb: what the process takes that starts the workers.
    """
    largest = max(probe.peak_memory_mb for probe in probes)
    images_mb, n_full = 0.0, 0
    if not job.search_only:
        images_mb = job.n_searched * math.prod(job.data.image_shape) / 2**20
        most_finalists = N_FINALISTS if job.timeout is None else MOST_FINALISTS
        n_points = MOST_POINTS + 1 if job.front else 1  # the default is always one
        for n_trainings in (n_points * job.n_students, n_points, *range(1, most_finalists + 1)):
            n_full = max(n_full, n_parallel_trainings(n_trainings, job.workers))
    in_all = max(job.workers * largest, n_full * (largest + images_mb))
    return Memory(largest + images_mb, in_all + supervisor_mb)


def largest_winner(rehearsals: Sequence[Rehearsal]) -> int:
    """Return the parameters of the largest network that may win; 0 without a finalist."""
    largest = 0
    for rehearsal in rehearsals:
        for recipes in rehearsal.finalists:
            for recipe in recipes:
                largest = max(largest, count_parameters(recipe.architecture))
    return largest


def n_models_written(n_finalists: int, n_students: int, n_formats: int) -> int:
    """Return how many networks the saved models have, all together: each as trained, as delivered, and in the ensemble.

    n_formats: that the delivered model and the ensemble are exported to.
    """
    n_trained = n_finalists + n_students
    return n_trained + n_students + 1 + n_trained + n_formats * (1 + n_trained)


def n_models_of_front(n_points: int, n_students: int) -> int:
    """Return how many networks the front's models have, beside the study's own: students, delivered ones and files.

    n_students: of each point. The delivered one of each is in its folder twice, once as that of its seed.
    """
    return n_points * (n_students + 2 + len(FRONT_FORMATS))


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that the folder is, or would be, on."""
    return shutil.disk_usage(nearest_existing(folder)).free


def estimate_disk(n_trials: int, n_parameters: int, n_models: int, data: DataRecord) -> int:
    """Estimate the bytes in the study's folder at its fullest.

    Args:
        n_trials: Trials of the study.
        n_parameters: Of the winner.
        n_models: Copies of the winner, in any format.
        data: The study's images.
    """
    n_images = sum(data.n_images.values())
    images = n_images * (math.prod(data.image_shape) + 1)  # the split, removed when the run ends
    return round(images + n_trials * BYTES_A_TRIAL + n_models * n_parameters * BYTES_A_WEIGHT + BYTES_OF_PAGES)
