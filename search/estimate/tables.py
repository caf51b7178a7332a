"""How `--check` shows what it has found."""

from __future__ import annotations

from collections.abc import Sequence

import psutil
from rich.table import Table
from rich.text import Text

from search.config import StudyConfig
from search.estimate.cases import middle, spread
from search.estimate.phases import Case
from search.estimate.resources import Memory
from search.format import rough_duration, rough_size, rounded_count, with_noun


def costs_table(cases: Sequence[Case]) -> Table:
    """Return a table of each phase's images and time, and of all together; cases: cheapest first."""
    typical = middle(cases)
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("images", "time", "from", "to"):
        table.add_column(name, justify="right")
    for i, phase in enumerate(typical.phases):
        row = _costs_row(phase.n_images, phase.seconds, [case.phases[i].seconds for case in cases])
        name = phase.name
        if name == "students":
            name = f"{typical.kind_of_student}s"
        table.add_row(name, *row)
    row = _costs_row(typical.n_images, typical.seconds, [case.seconds for case in cases])
    table.add_row("in all", *row, style="bold")
    return table


def _costs_row(n_images: float, seconds: float, seconds_of_cases: Sequence[float]) -> tuple[str, str, str, str]:
    """Return images, time, and the times between which most cases lie, in words."""
    low, high = spread(seconds_of_cases)
    return rounded_count(n_images), rough_duration(seconds), rough_duration(low), rough_duration(high)


def facts_table(
    config: StudyConfig,
    typical: Case,
    memory: Memory,
    memory_limit_mb: float | None,
    n_bytes: int,
    n_free_bytes: int,
    notes: Sequence[str],
) -> Table:
    """Return a table of trials, memory, disk, what a timeout leaves room for, and notes.

    Args:
        config: The run's options.
        typical: The mean of all cases.
        memory: What the run takes at its highest.
        memory_limit_mb: Of a worker; None for no limit, or that of each node of a cluster.
        n_bytes: What the run writes to the disk.
        n_free_bytes: What is free on the disk.
        notes: What else the user should know.
    """
    limit, available = "", f", {rough_size(psutil.virtual_memory().available)} are free"
    if memory_limit_mb is not None:
        limit = f", of {rough_size(memory_limit_mb * 2**20)} that it may take"
    elif config.cluster is not None:  # each node limits what runs on it, by its own memory
        available = " on all nodes"
    facts = [
        ("trials", f"{typical.n_trials}, of which about {typical.n_infeasible} over the limits"),
        ("memory", f"up to {rough_size(memory.of_worker * 2**20)} a worker{limit}"),
        ("", f"up to {rough_size(memory.in_all * 2**20)} in all{available}"),
        ("disk", f"about {rough_size(n_bytes)} in {config.folder}, {rough_size(n_free_bytes)} are free"),
    ]
    if config.timeout is not None:
        facts.append(("time", f"--timeout {config.timeout:g} leaves room for {timeout_in_words(config, typical)}"))
    for note in notes:
        facts.append(("note", note))
    facts.append(("assumed", "a machine as busy as now; larger networks more accurate"))
    facts.append(("", "The run can start."))
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, fact in facts:
        table.add_row(name, Text(fact))
    return table


def timeout_in_words(config: StudyConfig, typical: Case) -> str:
    """Say what a timeout leaves room for."""
    parts = [f"{typical.n_trials} of {config.trials} trials"]
    if typical.n_finalists:
        parts.append(
            f"{with_noun(typical.n_finalists, 'finalist')} of {typical.finalist_share:.2g} full trainings each"
        )
        students = f"no {typical.kind_of_student}s"
        if typical.student_share > 0:
            students = f"{with_noun(config.refit_seeds, typical.kind_of_student)} of {typical.student_share:.2g}"
        parts.append(students)
    return ", ".join(parts)
