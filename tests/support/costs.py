"""Probes, networks and a run whose cost is easy to count."""

from __future__ import annotations

from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from search.estimate.phases import Job
from search.records.models import DataRecord
from search.worker.probes import Probe

N_IMAGES = {"train": 1000, "selection": 200, "confirmation": 200, "test": 0}
DATA = DataRecord("made", "here", {}, ("a", "b"), (28, 28, 1), N_IMAGES, {}, 0.0, 1.0, "", 0)
N_EPOCHS = 10
JOB = Job(
    data=DATA,
    n_test_images=100,
    report_every_images=1000,
    workers=2,
    load_seconds=5.0,
    gain_of_threads=0.5,
    n_students=3,
    flips=False,
    begins_early=False,
)


def recipe(filters: int) -> Recipe:
    return Recipe(Architecture((28, 28, 1), 2, (Block(filters, 1, 3),)), TrainingPlan(n_epochs=N_EPOCHS))


def probe(filters: int, peak_memory_mb: float = 500.0) -> Probe:
    """A ten-thousandth of a second for an image, and as much for each 100,000 multiply-adds; an evaluation costs 40."""
    seconds = 1e-4 + 1e-9 * count_multiply_adds(recipe(filters).architecture)
    measured = {"n_images": (100, 400), "seconds": (140 * seconds, 440 * seconds)}
    return Probe(recipe(filters), 2.0 + 72 * seconds, 32, **measured, peak_memory_mb=peak_memory_mb)
