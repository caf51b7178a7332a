"""What do networks of the space weigh, and how long do they predict, as files of the format that counts?

A few untrained ones are converted and measured before the search, see `fmnist.export.untrained`; of all others it is
predicted.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import optuna

from fmnist.environment import clean_environment, python_command
from fmnist.export.embedding import describe
from fmnist.export.formats import find_format
from fmnist.export.scripts import SETTINGS
from fmnist.measure import measure
from fmnist.model.layers import count_parameters
from fmnist.model.metadata import ModelMetadata
from fmnist.paths import size_of
from fmnist.recipe import Architecture, Recipe, short_form
from search.config import StudyConfig
from search.format import percent
from search.records.files import StudyFiles
from search.space.space import SearchSpace, Target
from search.targets.costs import CostModel, fit, size_features, time_features
from search.worker.interrupts import POLL_SECONDS
from search.worker.tasks import Interrupted

N_PROBES = 12
N_DRAWS = 200  # of the space, among which the probes are spread
MOST_MARGIN = 0.1  # by which a prediction stays under a limit at most, where networks differ from the model by more
FAR_OFF = 0.2  # a model that errs by more is said to


MeasureNetworks = Callable[..., "TargetsRecord"]  # as `measure_probes`


@dataclass(frozen=True)
class Probe:
    """A network that was converted and measured."""

    network: str  # in short form
    n_bytes: int
    milliseconds: float | None  # for an image alone; None where times don't matter


@dataclass(frozen=True)
class TargetsRecord:
    """What the predictions of a study follow from."""

    format: str
    on: str | None  # command that reached the machine that measured; None: this one
    processor: str | None  # that measured; None where times don't matter
    probes: tuple[Probe, ...]
    size: CostModel
    time: CostModel | None

    def targets(self, max_bytes: int | None, max_ms: float | None) -> tuple[Target, ...]:
        """Return the limits as the search space has them. Each is predicted with the margin of its model's error."""
        targets = []
        if max_bytes is not None:
            targets.append(Target("max_bytes", max_bytes, self._bytes_of))
        if max_ms is not None:
            targets.append(Target("max_ms", max_ms, self._milliseconds_of))
        return tuple(targets)

    def _bytes_of(self, architecture: Architecture) -> int:
        return math.ceil(self.size.predict(size_features(architecture)) * (1 + min(self.size.error, MOST_MARGIN)))

    def _milliseconds_of(self, architecture: Architecture) -> float:
        assert self.time is not None
        return self.time.predict(time_features(architecture)) * (1 + min(self.time.error, MOST_MARGIN))

    def __str__(self) -> str:
        errors = [f"bytes within some {percent(self.size.error, 1)}"]
        if self.time is not None:
            errors.append(f"times on {self.processor} within some {percent(self.time.error, 0)}")
        return f"{len(self.probes)} networks as {self.format} predict the others' {' and '.join(errors)}"


def aim(
    space: SearchSpace,
    config: StudyConfig,
    files: StudyFiles,
    metadata: ModelMetadata,
    say: Callable[[str], None],
    stop: threading.Event,
    *,
    keeps: bool = True,
    measure_networks: MeasureNetworks | None = None,
) -> SearchSpace:
    """Return the space with the run's targets of size and speed; the same space where it has none.

    Args:
        space: What is searched.
        config: The run's options.
        files: The study's, which have what was measured when the study goes on.
        metadata: That the delivered file will hold.
        say: Is told what is measured, and how well the others are predicted.
        stop: Ends the measurement once it is set.
        keeps: Whether what is measured is written into the study's folder.
        measure_networks: Measures, as `measure_probes` does; tests pass another.

    Raises:
        UserError: The command that reaches another machine does not measure there.
        Interrupted: `stop` was set.
    """
    if not config.has_targets:
        return space
    if files.checksums.is_whole(files.targets):
        record = files.read_json(TargetsRecord, files.targets)
    else:
        recipes = choose_probes(space, config.seed)
        say(f"measuring {len(recipes)} untrained networks as {config.target}")
        measured_by = measure_networks or measure_probes
        record = measured_by(recipes, config.target, metadata, config.max_ms is not None, config.on, stop)
        if keeps:
            files.write_json(files.targets, record)
    say(str(record))
    for what, model in (("sizes", record.size), ("times", record.time)):
        if model is not None and model.error > FAR_OFF:
            say(f"the {what} of networks are hard to predict, so the delivered file may miss its target")
    return replace(space, targets=record.targets(config.max_bytes, config.max_ms))


def choose_probes(space: SearchSpace, seed: int) -> list[Recipe]:
    """Draw networks of the space and return some, from the smallest to the largest at even distances in between."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = [space.suggest(study.ask()) for _ in range(N_DRAWS)]
    ordered = sorted(drawn, key=lambda recipe: count_parameters(recipe.architecture))
    return [ordered[round(i * (N_DRAWS - 1) / (N_PROBES - 1))] for i in range(N_PROBES)]


def measure_probes(
    recipes: Sequence[Recipe],
    format_name: str,
    metadata: ModelMetadata,
    with_times: bool,
    on: str | None,
    stop: threading.Event,
) -> TargetsRecord:
    """Convert untrained networks and measure their files.

    Args:
        recipes: Theirs.
        format_name: Name of the format.
        metadata: That the files hold beside the networks.
        with_times: Whether times matter.
        on: Command that measures elsewhere, see `fmnist.measure.measure`.
        stop: Ends it once it is set.
    """
    format = find_format(format_name)
    probes, processor = [], None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request = {"format": format.name, "recipes": [recipe.to_dict() for recipe in recipes]}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        _convert(folder, stop)
        for number, recipe in enumerate(recipes):
            file, milliseconds = folder / f"{number}{format.ending}", None
            describe(file, format.runtime, metadata, None)
            if with_times:
                found = measure(file, on=on, check_cancelled=partial(raise_if_set, stop))
                milliseconds, processor = found.milliseconds_by_1, found.processor
            probes.append(Probe(short_form(recipe), size_of(file), milliseconds))
    architectures = [recipe.architecture for recipe in recipes]
    size = fit([size_features(each) for each in architectures], [probe.n_bytes for probe in probes])
    times = [probe.milliseconds for probe in probes if probe.milliseconds is not None]
    time = fit([time_features(each) for each in architectures], times) if with_times else None
    return TargetsRecord(format.name, on, processor, tuple(probes), size, time)


def raise_if_set(stop: threading.Event) -> None:
    """Raise Interrupted if `stop` is set."""
    if stop.is_set():
        raise Interrupted


def _convert(folder: Path, stop: threading.Event) -> None:
    """Have a process of its own write the networks that FOLDER/request.json asks for."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            python_command("fmnist.export.untrained", str(folder)),
            env=clean_environment(SETTINGS),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                if stop.wait(POLL_SECONDS):
                    raise Interrupted
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        if process.returncode != 0:
            raise RuntimeError(f"untrained networks could not be converted:\n{log.read().decode(errors='replace')}")
