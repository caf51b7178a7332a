"""What a study was made with: identity, data, environment and command."""

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
from fmnist.training.precision import has_bfloat16
from search import __version__
from search.config import StudyConfig
from search.machine import default_workers, has_gpu
from search.records.files import StudyFiles
from search.records.models import DataRecord
from search.space.space import SearchSpace
from search.study.storage import shown_url
from search.study.study import OWN_STORAGE


def memory_limit_of(config: StudyConfig, n_processes: int) -> float:
    """Of each of so many that run at a time."""
    memory_mb = psutil.virtual_memory().total / 2**20
    return config.memory_limit_mb or 0.8 * memory_mb / n_processes


def study_identity(config: StudyConfig, source: DataSource, space: SearchSpace, split: Split) -> dict[str, Any]:
    """What must not change between the runs of a study."""
    return {
        "version": __version__,
        "study": config.study,
        "dataset": source.dataset,
        "data_checksums": source.checksums,
        "split_checksum": split.checksum,
        "seed": config.seed,
        "sampler": config.sampler,
        "pruner": config.pruner,
        "max_parameters": config.max_parameters,
        "image_size": config.image_size,
        "colour": config.colour,
        "storage": shown_url(config.storage) if config.storage else OWN_STORAGE,
        "space": space.table,
    }


def describe_data(config: StudyConfig, source: DataSource, split: Split) -> DataRecord:
    parts = {"train": split.train, "selection": split.selection, "confirmation": split.confirmation}
    pixel_mean, pixel_std = pixel_statistics(split.train.images)
    n_classes = len(source.class_names)
    return DataRecord(
        dataset=source.dataset,
        source=str(source.folder) if source.folder else "bundled with scikit-learn",
        checksums=source.checksums,
        class_names=source.class_names,
        image_shape=source.image_shape,
        n_images={name: len(part) for name, part in parts.items()},
        class_counts={
            name: tuple(int(count) for count in np.bincount(part.labels, minlength=n_classes))
            for name, part in parts.items()
        },
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        split_checksum=split.checksum,
        split_seed=split.seed,
        notes=source.notes,
        duplicates=count_duplicates(split, source.test_digests),
        test_checksum=source.test_checksum,
        image_size=config.image_size,
        colour=config.colour,
        skip_unreadable=config.skip_unreadable,
        **dataclasses.asdict(measure_framing(split.train.images)),
    )


def describe_environment(config: StudyConfig) -> dict[str, Any]:
    packages = ("tensorflow", "keras", "optuna", "numpy", "scikit-learn")
    return {
        "fmnist-search": __version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": has_gpu(),
        "workers": config.workers,
        "threads_per_worker": threads_per_worker(config),
        "precision": "bfloat16" if trains_in_bfloat16(config) else "float32",
        "study_seed": config.seed,
    }


def trains_in_bfloat16(config: StudyConfig) -> bool:
    return config.precision == "bfloat16" or (config.precision == "auto" and has_bfloat16() and not has_gpu())


def threads_per_worker(config: StudyConfig) -> int:
    return max(1, default_workers() // config.workers)


def as_arguments(config: StudyConfig) -> list[str]:
    """The options that differ from their defaults, as one would type them."""
    names = {"memory_limit_mb": "memory-limit"}
    arguments = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        default = (
            field.default_factory()
            if field.default is dataclasses.MISSING and field.name == "workers"
            else field.default
        )
        if value is True:
            arguments.append(f"--{field.name.replace('_', '-')}")
        elif value != default:
            shown = _as_typed(field.name, value)
            arguments += [f"--{names.get(field.name, field.name.replace('_', '-'))}", shown]
    return arguments


def _as_typed(name: str, value: Any) -> str:
    if name == "storage":
        return shown_url(value)
    return ",".join(value) if isinstance(value, tuple) else str(value)


def command_with_exports(files: StudyFiles) -> str:
    """The command that makes the study, with all formats that were ever asked for."""
    words = shlex.split(files.read_command())
    if "--export" in words:
        start = words.index("--export")
        del words[start : start + 2]
    formats = ",".join(record.format for record in files.read_export_records())
    return shlex.join([*words, "--export", formats])
