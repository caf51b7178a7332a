"""python -m search.run --check: can the run start, and what will it cost? No study is begun and none is changed."""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import psutil
from rich.table import Table
from rich.text import Text

from fmnist.cli import nearest_existing
from fmnist.data.split import save_split
from fmnist.errors import UserError
from fmnist.model.layers import count_multiply_adds, count_parameters, describe_layers
from fmnist.recipe import Recipe
from search.callbacks.reporter import Reporter
from search.config import StudyConfig
from search.estimate.costs import (
    Case,
    Costs,
    Job,
    estimate,
    fit_costs,
    middle,
    seconds_an_image,
    spread,
)
from search.estimate.prepare import Prepared, prepare
from search.estimate.resources import Memory, estimate_disk, estimate_memory
from search.estimate.simulation import Rehearsal, draw_networks, rehearse
from search.format import rough_duration, rough_size, rounded_count
from search.records.models import FINISHED_STATES
from search.refit.finalists import n_finalists
from search.refit.schedule import n_parallel_trainings, threads_per_training
from search.space.space import DEFAULT_NAME
from search.study.objective import Objective
from search.study.trials import count_by_state
from search.worker.local import WorkerProcesses
from search.worker.probes import Outcome, probe_all, seconds_to_first_training
from search.worker.tasks import Trainer, TrainingFailed, TrainingSite

N_DRAWS = 200  # of the space, to find its smallest and largest network
N_PROBES = 10  # at least
PROBE_SECONDS = 40  # after so many no other network is tried: on a busy machine
N_SEEN = 1_000  # images held out, at most, that probes are evaluated on
NO_DEADLINE = 1e12  # seconds left: simulate a run with a timeout that never expires


@dataclass(frozen=True)
class CheckResult:
    """What a run would cost, as a check has found it."""

    prepared: Prepared
    cases: list[Case]  # cheapest first
    memory: Memory
    disk: int  # bytes that the run writes
    notes: list[str]


def check_run(
    config: StudyConfig,
    terminal: Reporter,
    stop: threading.Event,
    *,
    search_only: bool = False,
    worker_processes: Callable[[Path, threading.Event], WorkerProcesses] = WorkerProcesses,
) -> int:
    """Print what the run would cost, and return the exit code, 0.

    Args:
        config: The run's options.
        terminal: Shows the result.
        stop: Set it to end the check.
        search_only: The run would end after the search.
        worker_processes: Starts what trains; tests pass processes that train nothing.

    Raises:
        UserError: The run could not start.
        TrainingFailed: A training fails for another reason than memory.
        Interrupted: `stop` was set.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        scratch = Path(folder)
        prepared = prepare(config, terminal, stop, scratch)
        if prepared.is_finished:
            terminal.say(f"study {config.study} is finished: a run would build its report again, in seconds")
            return 0
        workers = worker_processes(scratch / "worker.log", stop)
        try:
            result = _find(prepared, search_only, scratch, terminal, workers)
        except TrainingFailed as failure:
            if failure.kind != "memory":
                raise
            raise UserError(f"{failure.reason}; raise --memory-limit, lower --workers, or limit the networks") from None
        _refuse_full_disk(config, result.disk)
        terminal.show(_costs_table(result))
        terminal.show(_facts_table(result))
    return 0


def _find(
    prepared: Prepared, search_only: bool, scratch: Path, terminal: Reporter, workers: WorkerProcesses
) -> CheckResult:
    """Rehearse the search, try some networks, and count what the run would cost."""
    config = prepared.config
    n_seen = min(N_SEEN, len(prepared.split.selection))
    # An evaluation costs by the image, so a probe need not see them all.
    save_split(replace(prepared.split, selection=prepared.split.selection.rows(np.arange(n_seen))), scratch / "split")
    site = prepared.site(scratch / "split")
    default = prepared.space.recipe_of(prepared.space.portfolio[0].params)
    load_seconds = seconds_to_first_training(default, site, workers.train)  # now: the processes begin to load
    rehearsals = rehearse(config, prepared.space, _objective_with(prepared, site), n_finalists(config.timeout))
    networks = choose_networks(prepared, site)
    terminal.say("trying some networks of the space, side by side as in the run")
    terminal.begin("trying networks", len(networks), counts_trainings=True, labels=[name for name, _ in networks])
    outcome = probe_all(networks, site, workers.train, config.workers, terminal, PROBE_SECONDS)
    costs = fit_costs(outcome.probes, n_seen)
    fewest = min([config.refit_seeds, *(len(rehearsal.finalists) or 1 for rehearsal in rehearsals)])
    gain = 1.0
    if not search_only:
        gain = _gain_of_threads(networks[0][1], prepared, site, fewest, workers.train, terminal, costs)
    job = _job(prepared, search_only, max(0.0, load_seconds - costs.start_seconds), gain)
    cases = estimate(rehearsals, costs, job)
    memory = estimate_memory(outcome.probes, psutil.Process().memory_info().rss / 2**20, job)
    return CheckResult(
        prepared, cases, memory, _disk(prepared, rehearsals, job), _notes(prepared, outcome, job, memory)
    )


def _objective_with(prepared: Prepared, site: TrainingSite) -> Callable[[Trainer], Objective]:
    """Return what makes the run's objective around a trainer."""
    seconds_left = None if prepared.config.timeout is None else NO_DEADLINE
    return lambda trainer: prepared.objective(trainer, site, lambda: seconds_left)


def choose_networks(prepared: Prepared, site: TrainingSite) -> list[tuple[str, Recipe]]:
    """Return what to train for a moment, by name, the most important first.

    They are the default, once for each worker; of N_DRAWS random networks within the limits the largest, the smallest
    and the one that takes most memory; the rest of the portfolio; random ones in between.

    Raises:
        UserError: All networks are over the limits.
    """
    config, space = prepared.config, prepared.space
    draws = draw_networks(space, _objective_with(prepared, site), N_DRAWS, config.seed)
    most_parameters = config.max_parameters or space.limits.max_parameters or math.inf
    most_multiply_adds = space.limits.max_multiply_adds or math.inf
    portfolio = []
    for entry in space.portfolio:
        recipe = space.recipe_of(entry.params)
        is_small = count_parameters(recipe.architecture) <= most_parameters
        if is_small and _multiply_adds(recipe) <= most_multiply_adds:
            portfolio.append((entry.name, recipe))
    if not portfolio and not draws:
        raise UserError(
            f"some network must be within the limits, but of {N_DRAWS} random ones and the portfolio all are over "
            f"them; raise --max-parameters or the limits of the space"
        )
    again = [each for each in portfolio if each[0] == DEFAULT_NAME] * (config.workers - 1)
    some = _spread_out(draws, max(3, N_PROBES - len(again) - len(portfolio)))
    first, rest = some[:3], some[3:]
    chosen = portfolio[:1] + first + again + portfolio[1:] + rest  # the last of them may have to be left out
    chosen += chosen[: -len(chosen) % config.workers]  # else some workers have no company at the end
    numbered = []
    for name, recipe in chosen:
        numbered.append((f"{len(numbered) + 1}: {name}", recipe))
    return numbered


def _spread_out(draws: Sequence[Recipe], n: int) -> list[tuple[str, Recipe]]:
    """Return the largest, the smallest, the one that takes most memory, and n - 3 at even distances in between."""
    if not draws:
        return []
    ordered = sorted(draws, key=_multiply_adds)
    chosen = [("largest", ordered[-1]), ("smallest", ordered[0]), ("most memory", max(draws, key=_n_values_at_once))]
    # n - 1 places from the smallest to the largest, less these two, are the n - 3 in between.
    places = np.linspace(0, len(ordered) - 1, n - 1)[1:-1].round().astype(int)
    for place in places:
        chosen.append(("between", ordered[place]))
    return chosen


def _multiply_adds(recipe: Recipe) -> int:
    """Return the multiply-adds of a recipe's network for an image."""
    return count_multiply_adds(recipe.architecture)


def _n_values_at_once(recipe: Recipe) -> int:
    """Return how many values a training step keeps for backpropagation."""
    values = sum(math.prod(layer.output_shape) for layer in describe_layers(recipe.architecture))
    return recipe.plan.batch_size * values


def _gain_of_threads(
    recipe: Recipe,
    prepared: Prepared,
    site: TrainingSite,
    n_trainings: int,
    train: Trainer,
    terminal: Reporter,
    costs: Costs,
) -> float:
    """Measure how much faster a training is for each further thread, as a share of what a worker of its own would add.

    With fewer trainings than workers, each has several threads. Where each has one, nothing is tried, and it is 1.

    Args:
        recipe: The network to try.
        prepared: The run.
        site: What its trainings have in common.
        n_trainings: The fewest that a phase of the run has.
        train: Runs trainings.
        terminal: Shows them.
        costs: What trainings take with the threads of one worker.
    """
    workers = prepared.config.workers
    n_threads = threads_per_training(n_parallel_trainings(n_trainings, workers), workers, site.n_threads)
    if n_threads <= site.n_threads:
        return 1.0
    several = [(f"{n_threads} threads, {i + 1}", recipe) for i in range(n_trainings)]
    probes = probe_all(several, replace(site, n_threads=n_threads), train, n_trainings, terminal).probes
    evaluation = costs.share_seen * min(N_SEEN, prepared.data.n_images["selection"])
    seconds = float(np.mean([seconds_an_image(probe, evaluation) for probe in probes]))
    gain = costs.seconds_an_image(recipe) / seconds - 1
    return max(0.0, gain / (n_threads / site.n_threads - 1))


def _job(prepared: Prepared, search_only: bool, load_seconds: float, gain_of_threads: float) -> Job:
    """Return the run whose cost is asked for."""
    config, files = prepared.config, prepared.files
    n_trials_done = 0
    if prepared.study is not None:
        counts = count_by_state(prepared.study)
        n_trials_done = sum(counts.get(state, 0) for state in FINISHED_STATES)
    is_shared = config.storage is not None and not config.storage.startswith("sqlite")
    return Job(
        data=prepared.data,
        n_test_images=prepared.n_test_images,
        report_every_images=prepared.space.fidelity.report_every_images,
        longest_training=prepared.space.longest_training,
        workers=config.workers,
        load_seconds=load_seconds,
        gain_of_threads=gain_of_threads,
        n_seeds=config.refit_seeds,
        flips=prepared.space.parameters["flip"].highest,
        begins_early=not search_only and config.timeout is None and not is_shared,
        search_only=search_only,
        timeout=config.timeout,
        n_trials_done=min(config.trials, n_trials_done),
        n_confirmed=len(files.read_confirm_records()),
        n_refitted=len(files.read_refit_records()),
    )


def _disk(prepared: Prepared, rehearsals: Sequence[Rehearsal], job: Job) -> int:
    """Return the bytes that the run writes, with a winner as large as the largest finalist."""
    n_parameters = 0
    for rehearsal in rehearsals:
        for finalist in rehearsal.finalists:
            n_parameters = max(n_parameters, count_parameters(finalist.recipe.architecture))
    n_models = 0
    if not job.search_only:
        n_models = job.n_seeds + 1 + 2 * len(prepared.config.export)
    return estimate_disk(prepared.config.trials, n_parameters, n_models, prepared.data)


def _free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that the folder is, or would be, on."""
    return shutil.disk_usage(nearest_existing(folder)).free


def _refuse_full_disk(config: StudyConfig, n_bytes: int) -> None:
    """Raise UserError if the disk has no room for the study."""
    free = _free_bytes(config.folder)
    if free < n_bytes:
        raise UserError(
            f"{config.folder} must have room for about {rough_size(n_bytes)}, but {rough_size(free)} are free; free some, or "
            f"choose another disk with --studies-dir"
        )


def _notes(prepared: Prepared, outcome: Outcome, job: Job, memory: Memory) -> list[str]:
    """Return what the user should know beside the figures."""
    config, site_limit = prepared.config, prepared.site(Path()).memory_limit_mb
    notes = [*outcome.failures]
    if site_limit is not None and memory.of_worker > site_limit:
        notes.append(
            f"A worker may take more memory than its limit of {rough_size(site_limit * 2**20)}; such trials fail."
        )
    if memory.in_all > psutil.virtual_memory().available / 2**20:
        notes.append("The workers together may take more memory than is free: take fewer, with --workers.")
    if job.n_trials_done:
        notes.append(
            f"The study has {job.n_trials_done} finished trials; {config.trials - job.n_trials_done} are left."
        )
    if config.baselines or config.export:
        notes.append("Baselines and exports come on top: neither is estimated.")
    return notes


def _costs_table(result: CheckResult) -> Table:
    """Return the costs of each phase, as a table."""
    cases = result.cases
    typical = middle(cases)
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("images", "time", "from", "to"):
        table.add_column(name, justify="right")
    for i, phase in enumerate(typical.phases):
        low, high = spread([case.phases[i].seconds for case in cases])
        table.add_row(
            phase.name,
            rounded_count(phase.n_images),
            rough_duration(phase.seconds),
            rough_duration(low),
            rough_duration(high),
        )
    low, high = spread([case.seconds for case in cases])
    table.add_row(
        "in all",
        rounded_count(typical.n_images),
        rough_duration(typical.seconds),
        rough_duration(low),
        rough_duration(high),
        style="bold",
    )
    return table


def _facts_table(result: CheckResult) -> Table:
    """Return trials, memory, disk and notes, as a table."""
    config, memory, typical = result.prepared.config, result.memory, middle(result.cases)
    limit = rough_size((result.prepared.site(Path()).memory_limit_mb or 0.0) * 2**20)
    available = rough_size(psutil.virtual_memory().available)
    facts = [
        ("trials", f"{typical.n_trials}, of which about {typical.n_infeasible} over the limits"),
        ("memory", f"up to {rough_size(memory.of_worker * 2**20)} a worker, of {limit} that it may take"),
        ("", f"up to {rough_size(memory.in_all * 2**20)} in all, {available} are free"),
        (
            "disk",
            f"about {rough_size(result.disk)} in {config.folder}, {rough_size(_free_bytes(config.folder))} are free",
        ),
        *_timeout_facts(config, typical),
        *(("note", note) for note in result.notes),
        ("assumed", "a machine as busy as now; accuracy unrelated to a network's cost"),
        ("", "The run can start."),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, fact in facts:
        table.add_row(name, Text(fact))
    return table


def _timeout_facts(config: StudyConfig, typical: Case) -> list[tuple[str, str]]:
    """Say what a timeout leaves room for."""
    if config.timeout is None:
        return []
    cut = []
    if typical.n_trials < config.trials:
        cut.append(f"about {typical.n_trials} of {config.trials} trials")
    if typical.refit_share < 1:
        cut.append(f"retrainings of {typical.refit_share:.0%} of their length")
    return [("time", f"--timeout {config.timeout:g} leaves room for {' and '.join(cut) or 'everything'}")]
