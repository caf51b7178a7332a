"""Trials that run again: those that were running when their run was stopped or killed, or when their node died.

They wait under their own numbers, with their own parameters and so their own seeds, and are the next to run.
"""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.study.attributes import attributes_of
from search.study.optuna_private import id_of
from search.study.storage.opening import StudyStorage
from search.worker.tasks import MAX_LOSSES


def requeue(trial: FrozenTrial, storage: StudyStorage, *, is_loss: bool) -> bool:
    """Let a running trial wait to run again.

    Args:
        trial: As its storage has it now.
        storage: The storage of its study, which this run holds.
        is_loss: Its run or its node died, rather than being stopped. A trial that was lost MAX_LOSSES times has
            probably killed them itself: it fails, with the reason.

    Returns:
        Whether it waits; False where it has failed.
    """
    trial_id = id_of(trial)
    n_losses = attributes_of(trial).get("n_losses", 0) + is_loss
    if n_losses >= MAX_LOSSES:
        storage.set_trial_user_attr(trial_id, "n_losses", n_losses)
        reason = f"failed (lost): it was running at {n_losses} deaths of a run or a node"
        storage.set_trial_user_attr(trial_id, "reason", reason)
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
        return False
    storage.set_trial_state_values(trial_id, TrialState.WAITING)
    if is_loss:  # written second: a kill in between counts no loss, rather than two
        storage.set_trial_user_attr(trial_id, "n_losses", n_losses)
    return True


def requeue_running(study: optuna.Study, storage: StudyStorage, *, are_losses: bool) -> None:
    """Let all running trials of a study wait to run again. Nothing may be training them. For the rest see `requeue`."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        requeue(trial, storage, is_loss=are_losses)
