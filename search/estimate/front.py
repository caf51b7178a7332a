"""What will a run with --front cost after its search? Its networks' trainings, their students, their files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from fmnist.model.layers import count_multiply_adds
from fmnist.recipe import Recipe
from search.estimate.costs import Costs
from search.estimate.phases import (
    Case,
    Job,
    Phase,
    SimulatedSearch,
    ensemble_phase,
    finalists_phase,
    full_seconds,
    seconds_left,
    testing_phase,
)
from search.estimate.simulation import Rehearsal
from search.front.training import FullTraining, plan_of_front, seconds_of_files, taught_seconds
from search.refit.schedule import (
    N_TEACHERS,
    SHORTEST_STUDENT,
    length_of_share,
    seconds_of_testing,
    share_of_further_training,
)


def simulate_front(rehearsal: Rehearsal, searched: SimulatedSearch, costs: Costs, job: Job) -> Case:
    """Return what a run costs whose search went so. The costliest network, which the others follow, is best.keras."""
    recipes = sorted(rehearsal.finalists[-1], key=partial(full_seconds, costs=costs, job=job), reverse=True)
    each = [full_seconds(recipe, costs, job) for recipe in recipes]
    taught = taught_seconds(each, each[:N_TEACHERS])
    speed = float(np.mean([1 / costs.seconds_an_image(recipe) for recipe in recipes]))
    speed *= job.planned_all_workers()
    n_confirmation = job.data.n_images["confirmation"]
    n = len(recipes)
    kept = seconds_of_testing(job.n_test_images, n_confirmation, n, n, speed, n_views=job.n_views)
    kept += seconds_of_files(len(recipes))
    left = seconds_left(searched.phase.seconds, kept, job)
    trainings = []
    for seconds, recipe in zip(each, recipes, strict=True):
        trainings.append(FullTraining(seconds, count_multiply_adds(recipe.architecture)))
    plan = plan_of_front(trainings, job.n_students, left, job.planned_seconds_together)
    shares = [plan.share * stretch for stretch in plan.stretches(each, job.workers)]
    left_to_train = slice(job.n_finalists_done, None)
    finalists = finalists_phase(recipes[left_to_train], shares[left_to_train], searched.free_at, costs, job)
    left = seconds_left(searched.phase.seconds + finalists.seconds, kept, job)
    students, share = front_students_phase(recipes, taught, left, plan.share, costs, job)
    ensemble = ensemble_phase(recipes, costs, job)
    testing = testing_phase(recipes[0], 1, recipes, costs, job)
    of_others = sum(costs.start_seconds + costs.seconds(recipe, 0, job.n_test_images) for recipe in recipes)
    testing = Phase(testing.name, 0, testing.seconds + of_others)
    files = Phase("files", 0, seconds_of_files(len(recipes)))
    phases = (searched.phase, finalists, students, ensemble, testing, files)
    return Case(phases, len(searched.trials), searched.n_infeasible, len(recipes), plan.share, student_share=share)


def front_students_phase(
    recipes: Sequence[Recipe],
    taught: Sequence[float],
    left: float | None,
    finalist_share: float,
    costs: Costs,
    job: Job,
) -> tuple[Phase, float]:
    """Count the students that are left; also return a student's length, as a share of a full training.

    Args:
        recipes: Of the front's networks, the longest training first.
        taught: Seconds of a full training of each one's student, its teachers included.
        left: Seconds until the last training has to end; None without a timeout.
        finalist_share: Length of a finalist's training, in full ones.
        costs: What trainings take.
        job: The run.
    """
    of_all = [each for each in zip(recipes, taught, strict=True) for _ in range(job.n_students)]
    missing = of_all[job.n_students_done :]
    if not missing:
        return Phase("students", 0, 0.0), 1.0
    share = share_of_further_training(left, job.seconds_together([seconds for _, seconds in missing]))
    if left is not None and share < SHORTEST_STUDENT * finalist_share:
        return Phase("students", 0, 0.0), 0.0
    n_images = sum(length_of_share(recipe.plan.n_epochs, job.n_searched, share) for recipe, _ in missing)
    each = [costs.start_seconds + share * seconds for _, seconds in missing]
    return Phase("students", n_images, job.seconds_together(each)), share
