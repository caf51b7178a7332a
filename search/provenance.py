"""What a study was made with: its identity, its images, the machine and the command."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import shlex
from typing import Any

import numpy as np
import psutil

from fmnist.data.duplicates import count_duplicates
from fmnist.data.framing import measure_framing
from fmnist.data.source import DataSource
from fmnist.data.split import Split, pixel_statistics
from fmnist.export.formats import read_formats
from fmnist.options import to_arguments
from fmnist.scoring import BEFORE_THE_CHOICE
from search import __version__
from search.cli import shown_url
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.records.models import DataRecord
from search.space.space import SearchSpace
from search.study.study import OWN_STORAGE
from search.system.machine import has_gpu
from search.worker.resources import Resources

PACKAGES = ("tensorflow", "keras", "optuna", "numpy", "scikit-learn")  # whose versions are recorded
N_SAMPLES = 10  # training images of each class that are kept for the report


def study_identity(config: StudyConfig, source: DataSource, space: SearchSpace, split: Split) -> dict[str, Any]:
    """What must not change between the runs of a study, as plain JSON, passwords left out.

    Args:
        config: the study's options.
        source: where its images come from, with their checksums.
        space: what is searched.
        split: which images select, and which confirm.
    """
    storage = OWN_STORAGE
    if config.storage:
        storage = shown_url(config.storage)
    decides = {}  # what is as in studies from before there was a choice is left out, so that these are the same
    for name, value in (("metric", config.metric), ("class_weights", config.loss_weights)):
        if value != BEFORE_THE_CHOICE[name]:
            decides[name] = value
    if config.has_targets:
        targets = {"target": config.target, "max_bytes": config.max_bytes, "max_ms": config.max_ms, "on": config.on}
        decides.update({name: value for name, value in targets.items() if value is not None})
    if config.front:
        decides["front"] = True
    return {
        "version": __version__,
        "study": config.study,
        "dataset": source.dataset,
        "data_checksums": source.checksums,
        "split_checksum": split.checksum,
        "seed": config.seed,
        "sampler": config.sampler,
        "pruner": config.pruner,
        **config.limits,
        "image_size": config.image_size,
        "colour": config.colour,
        "storage": storage,
        **decides,
        "space": space.table,
    }


def describe_data(config: StudyConfig, source: DataSource, split: Split) -> DataRecord:
    """Measure the images that the study learns from: classes, sizes, pixels, duplicates, framing.

    Test images are known by their checksums only; none is read.
    """
    pixel_mean, pixel_std = pixel_statistics(split.train.images)
    n_classes = len(source.class_names)
    n_images, class_counts = {}, {}
    for name in ("train", "selection", "confirmation"):
        labels = getattr(split, name).labels
        n_images[name] = len(labels)
        class_counts[name] = tuple(np.bincount(labels, minlength=n_classes).tolist())
    place = source.without_folder
    if source.folder:
        place = str(source.folder)
    return DataRecord(
        dataset=source.dataset,
        source=place,
        checksums=source.checksums,
        class_names=source.class_names,
        image_shape=source.image_shape,
        n_images=n_images,
        class_counts=class_counts,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        split_checksum=split.checksum,
        split_seed=split.seed,
        notes=source.notes,
        duplicates=count_duplicates(split, source.test_digests),
        test_checksum=source.test_checksum,
        has_test=source.has_test,
        image_size=config.image_size,
        colour=config.colour,
        skip_unreadable=config.skip_unreadable,
        picture_form=source.picture_form,
        **dataclasses.asdict(measure_framing(split.train.images)),
    )


def sample_images(split: Split, n_classes: int) -> np.ndarray:
    """The first training images of each class: uint8 (n_classes, up to N_SAMPLES, height, width, channels)."""
    labels = split.train.labels
    by_class = [np.flatnonzero(labels == label)[:N_SAMPLES] for label in range(n_classes)]
    n_each = min(map(len, by_class))
    return np.stack([split.train.images[indices[:n_each]] for indices in by_class])


def describe_environment(config: StudyConfig, resources: Resources) -> dict[str, Any]:
    """Versions of what computes, the machine, and how its cores, or those of a cluster, are shared out."""
    precision = "float32"
    if resources.bfloat16:
        precision = "bfloat16"
    nodes = {}
    if resources.nodes:
        nodes["nodes"] = "; ".join(f"{name}: {what}" for name, what in resources.nodes.items())
    chosen = {}  # what of the caller's environment counts, see `fmnist.environment`
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        chosen["CUDA_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"]
    return {
        "fmnist-search": __version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": has_gpu(),
        **chosen,
        "workers": resources.workers,
        "threads_per_worker": resources.n_threads,
        "precision": precision,
        **nodes,
        "study_seed": config.seed,
    }


def as_arguments(config: StudyConfig) -> list[str]:
    """Return the options that differ from their defaults as one would type them, without a password."""
    storage = shown_url(config.storage) if config.storage else None
    return to_arguments(dataclasses.replace(config, storage=storage))


def command_of(config: StudyConfig, source: DataSource) -> str:
    """Return the command line that makes the study; of images in memory, which no command line can name, the call."""
    if source.has_test:
        return shlex.join(["python", "-m", "search.run", *as_arguments(config)])
    return f"run_study({config!r}, source=...)"


def command_with_exports(files: StudyFiles) -> str:
    """The command that makes the study, with all formats that it was ever exported in."""
    words = shlex.split(files.read_command())
    if "--export" in words:
        start = words.index("--export")
        del words[start : start + 2]
    made = read_formats([record.format for record in files.read_export_records()], "--export")
    return shlex.join([*words, "--export", ",".join(made)] if made else words)
