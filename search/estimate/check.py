"""python -m search.run --check: can the run start, and what will it cost? No study is begun and none is changed."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from fmnist.data.split import save_split
from fmnist.errors import UserError
from fmnist.recipe import Recipe
from search.callbacks.reporter import Reporter
from search.cluster.place import StartWorkers, place_of
from search.config import StudyConfig
from search.context import default_settings
from search.estimate.cases import estimate, middle
from search.estimate.costs import Costs, fit_costs, seconds_an_image
from search.estimate.networks import choose_networks
from search.estimate.phases import Case, Job
from search.estimate.prepare import Prepared, prepare
from search.estimate.resources import (
    Memory,
    estimate_disk,
    estimate_memory,
    free_bytes,
    largest_winner,
    n_models_of_front,
    n_models_written,
)
from search.estimate.simulation import Rehearsal, rehearse
from search.estimate.tables import costs_table, facts_table
from search.format import rough_size
from search.refit.schedule import n_parallel_trainings, threads_per_training
from search.worker.interrupts import Interruptible, holding_interrupts
from search.worker.local import WorkerProcesses
from search.worker.probes import probe_all, seconds_to_first_training
from search.worker.resources import Resources
from search.worker.tasks import RecipeTrainer, TrainingFailed, TrainingSite

PROBE_SECONDS = 40  # after so many no other network is tried: on a busy machine
N_SEEN = 1_000  # images held out, at most, that probes are evaluated on


@dataclass(frozen=True)
class CheckResult:
    """What a run would cost, as a check has found it."""

    cases: list[Case]  # cheapest first
    memory: Memory
    n_bytes: int  # that the run writes
    notes: list[str]  # what else the user should know


def check_run(
    config: StudyConfig,
    terminal: Reporter,
    stop: threading.Event,
    *,
    search_only: bool = False,
    worker_processes: StartWorkers = WorkerProcesses,
) -> int:
    """Print what the run would cost, and return the exit code, 0.

    Args:
        config: The run's options.
        terminal: Shows the result.
        stop: Set it to end the check; Ctrl-C does so too.
        search_only: The run would end after the search.
        worker_processes: Starts what trains; tests pass processes that train nothing.

    Raises:
        UserError: The run could not start.
        TrainingFailed: A training fails for another reason than memory.
        KeyboardInterrupt: Ctrl-C was pressed.
        Interrupted: `stop` was set.
    """
    with (
        holding_interrupts(stop) as asked,
        default_settings(),
        tempfile.TemporaryDirectory(prefix="check-") as folder,
        ExitStack() as opened,
    ):
        scratch = Path(folder)
        with Interruptible(asked):
            place = opened.enter_context(place_of(config, terminal, worker_processes))
            prepared = prepare(config, terminal, asked, scratch, place.resources)
        if prepared.is_finished:
            terminal.say(f"study {config.study} is finished: a run would build its report again, in seconds")
            return 0
        is_measured = not config.has_targets or prepared.files.has(prepared.files.targets)
        started = time.monotonic()
        prepared = prepared.aimed(keeps=False)
        measuring_seconds = 0.0 if is_measured else time.monotonic() - started  # as long as the run will
        try:
            with place.start_workers(scratch / "worker.log", asked) as workers:
                result = estimate_run(prepared, search_only, measuring_seconds, scratch, terminal, workers)
        except TrainingFailed as failure:
            if failure.kind != "memory":
                raise
            fewer = ""
            has_own_limit = config.memory_limit_mb is not None
            if prepared.resources.workers > 1 and not has_own_limit:
                fewer = "lower --workers, "
            raise UserError(f"{failure.reason}; {fewer}raise --memory-limit or lower --max-parameters") from None
        n_free = free_bytes(config.folder)
        if n_free < result.n_bytes:
            raise UserError(
                f"{config.folder} must have room for about {rough_size(result.n_bytes)}, but {rough_size(n_free)} are "
                f"free; free some, or choose another disk with --studies-dir"
            )
        limit = prepared.site(scratch).memory_limit_mb
        typical = middle(result.cases)
        terminal.show(costs_table(result.cases))
        terminal.show(facts_table(config, typical, result.memory, limit, result.n_bytes, n_free, result.notes))
    return 0


def estimate_run(
    prepared: Prepared,
    search_only: bool,
    measuring_seconds: float,
    scratch: Path,
    terminal: Reporter,
    workers: WorkerProcesses,
) -> CheckResult:
    """Rehearse the search, try some networks, and count what the run would cost.

    Args:
        prepared: The run, ready to begin.
        search_only: It would end after the search.
        measuring_seconds: That it would spend on measuring networks for a target before it.
        scratch: An empty folder for the images that are trained on.
        terminal: Shows the trainings.
        workers: Run them.

    Raises:
        UserError: No network is within the limits.
        TrainingFailed: A training fails.
        Interrupted: The check is to stop.
    """
    config, n_workers = prepared.config, prepared.resources.workers
    selection = prepared.split.selection
    n_seen = min(N_SEEN, len(selection))
    # An evaluation costs by the image, so a probe need not see them all.
    with Interruptible(prepared.stop):
        save_split(replace(prepared.split, selection=selection.rows(np.arange(n_seen))), scratch / "split")
    site = prepared.site(scratch / "split")
    default = prepared.space.recipe_of(prepared.space.portfolio[0].params)
    load_seconds = seconds_to_first_training(default, site, workers.train)  # now: the processes begin to load
    with Interruptible(prepared.stop):
        rehearsals = rehearse(config, prepared.space, prepared.objective_with(site))
        networks = choose_networks(prepared, site)
    terminal.say("trying some networks of the space, side by side as in the run")
    terminal.begin("trying networks", len(networks), counts_trainings=True, labels=[name for name, _ in networks])
    outcome = probe_all(networks, site, workers.train, n_workers, terminal, PROBE_SECONDS)
    costs = fit_costs(outcome.probes, n_seen)
    gain = 1.0
    if not search_only:
        fewest = 1 if config.timeout is not None else min(config.refit_seeds, fewest_finalists(rehearsals))
        evaluation = costs.share_seen * n_seen
        gain = measure_gain_of_threads(
            networks[0][1], costs, evaluation, site, prepared.resources, fewest, workers.train, terminal
        )
    job = prepared.job(search_only, max(0.0, load_seconds - costs.start_seconds), gain, measuring_seconds)
    memory = estimate_memory(outcome.probes, psutil.Process().memory_info().rss / 2**20, job)
    cases = estimate(rehearsals, costs, job)
    n_models = 0
    if not search_only:
        n_finalists = max(case.n_finalists for case in cases)
        n_models = n_models_written(n_finalists, job.n_students, len(config.export))
        if config.front:
            n_models += n_models_of_front(n_finalists, job.n_students)
    return CheckResult(
        cases=cases,
        memory=memory,
        n_bytes=estimate_disk(config.trials, largest_winner(rehearsals), n_models, prepared.data),
        notes=[*outcome.failures, *_notes_on(config, job, memory, site.memory_limit_mb)],
    )


def fewest_finalists(rehearsals: Sequence[Rehearsal]) -> int:
    """Return the fewest finalists that a run without a timeout may have: two, where so many trials may be finalists."""
    fewest = 2
    for rehearsal in rehearsals:
        fewest = min(fewest, len(rehearsal.finalists) or 1)
    return fewest


def measure_gain_of_threads(
    recipe: Recipe,
    costs: Costs,
    evaluation_in_images: float,
    site: TrainingSite,
    resources: Resources,
    n_trainings: int,
    train: RecipeTrainer,
    terminal: Reporter,
) -> float:
    """Measure how much faster a training is for each further thread, as a share of what a worker of its own would add.

    With fewer trainings than workers, each has several threads, as far as a node of a cluster has them. Where each has
    no more than a worker's, nothing is tried, and it is 1: nothing is multiplied by it.

    Args:
        recipe: The network to try.
        costs: What trainings take with the threads of one worker.
        evaluation_in_images: What an evaluation costs, in images that are learned from.
        site: What the run's trainings have in common.
        resources: What the run's trainings share.
        n_trainings: The fewest that a phase of the run has.
        train: Runs trainings.
        terminal: Shows them.
    """
    workers = resources.workers
    n_parallel = n_parallel_trainings(n_trainings, workers)
    n_threads = threads_per_training(n_parallel, workers, site.n_threads, resources.most_threads)
    if n_threads <= site.n_threads:
        return 1.0
    several = [(f"{n_threads} threads, {i + 1}", recipe) for i in range(n_trainings)]
    probes = probe_all(several, replace(site, n_threads=n_threads), train, n_trainings, terminal).probes
    seconds = float(np.mean([seconds_an_image(probe, evaluation_in_images) for probe in probes]))
    gain = costs.seconds_an_image(recipe) / seconds - 1
    return max(0.0, gain / (n_threads / site.n_threads - 1))


def _notes_on(config: StudyConfig, job: Job, memory: Memory, memory_limit_mb: float | None) -> list[str]:
    """Return what the user should know beside the figures; memory_limit_mb: of a worker, None for no limit."""
    notes = []
    if memory_limit_mb is not None and memory.of_worker > memory_limit_mb:
        limit = rough_size(memory_limit_mb * 2**20)
        notes.append(f"A worker may take more memory than its limit of {limit}; such trials fail.")
    if config.cluster is None and memory.in_all > psutil.virtual_memory().available / 2**20:
        notes.append("The workers together may take more memory than is free: take fewer, with --workers.")
    if job.n_trials_done:
        n_left = config.trials - job.n_trials_done
        notes.append(f"The study has {job.n_trials_done} finished trials; {n_left} are left.")
    if config.baselines or config.export:
        notes.append("Baselines and exports come on top: neither is estimated.")
    return notes
