"""What may a run cost? Each of its rehearsals with each winner that it may have, as likely as the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from search.estimate.costs import Costs
from search.estimate.front import simulate_front
from search.estimate.phases import Case, Job, Phase, simulate_finalists, simulate_rest, simulate_search
from search.estimate.simulation import Rehearsal

SHARES_SHOWN = (0.1, 0.9)  # of the cases, from the cheapest on, between which a cost is said to lie


def estimate(rehearsals: Sequence[Rehearsal], costs: Costs, job: Job) -> list[Case]:
    """Return what each rehearsal costs with each of its finalists as the winner, all as likely, the cheapest first.

    Rehearsals without a finalist are left out, unless that is all of them.
    """
    likely = list(rehearsals)
    with_finalists = [rehearsal for rehearsal in rehearsals if rehearsal.finalists]
    if with_finalists and not job.search_only:
        likely = with_finalists
    cases = []
    for rehearsal in likely:
        searched = simulate_search(rehearsal, costs, job)
        if job.search_only or not rehearsal.finalists:
            cases.append(Case((searched.phase,), len(searched.trials), searched.n_infeasible))
            continue
        if job.front:
            cases.append(simulate_front(rehearsal, searched, costs, job))
            continue
        trained = simulate_finalists(rehearsal, searched, costs, job)
        for winner in trained.recipes:
            cases.append(simulate_rest(searched, trained, winner, costs, job))
    if job.measuring_seconds:
        measuring = Phase("measuring", 0.0, job.measuring_seconds)
        cases = [replace(case, phases=(measuring, *case.phases)) for case in cases]
    return sorted(cases, key=lambda case: case.seconds)


def middle(cases: Sequence[Case]) -> Case:
    """Return the mean figures of all cases, as one case."""
    phases = []
    for i, phase in enumerate(cases[0].phases):
        n_images = np.mean([case.phases[i].n_images for case in cases])
        seconds = np.mean([case.phases[i].seconds for case in cases])
        phases.append(Phase(phase.name, float(n_images), float(seconds)))
    counts = [(case.n_trials, case.n_infeasible, case.n_finalists) for case in cases]
    n_trials, n_infeasible, n_finalists = np.mean(counts, axis=0).round().astype(int).tolist()
    finalist_share = float(np.mean([case.finalist_share for case in cases]))
    student_shares = [case.student_share for case in cases if case.student_share > 0]
    student_share = float(np.mean(student_shares)) if 2 * len(student_shares) > len(cases) else 0.0
    return Case(tuple(phases), n_trials, n_infeasible, n_finalists, finalist_share, student_share)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the two values between which most of them lie, see SHARES_SHOWN."""
    low, high = np.quantile(values, SHARES_SHOWN)
    return float(low), float(high)
