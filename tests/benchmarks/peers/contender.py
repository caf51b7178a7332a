"""The process of one contender: python -m tests.benchmarks.peers.contender ASSIGNMENT, which is JSON. See `peers`."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys

from tests.benchmarks.peers.records import Assignment, Images, Ledger, write_outcome
from tests.benchmarks.peers.surroundings import describe

MODULES = {  # contender -> module and function; imported in its own process only
    "ours": ("ours", "compete"),
    "ours-small-space": ("ours", "compete_in_small_space"),
    "optuna": ("by_hand", "compete_with_optuna"),
    "keras-tuner": ("by_hand", "compete_with_keras_tuner"),
    "random": ("own_loop", "compete_with_random"),
    "i-epoch": ("own_loop", "compete_with_i_epoch"),
    "default": ("own_loop", "compete_with_default"),
    "hand": ("by_hand", "compete_by_hand"),
}


def main(argument: str) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    fields = json.loads(argument)
    assignment = Assignment(**{**fields, "images": Images(**fields["images"])})
    ledger = Ledger(assignment.started, assignment.seconds)
    surroundings = describe()
    module, function = MODULES[assignment.contender]
    assignment.files.scratch.mkdir()
    try:
        getattr(importlib.import_module(f"tests.benchmarks.peers.{module}"), function)(assignment, ledger)
    finally:
        shutil.rmtree(assignment.files.scratch)
    write_outcome(assignment, ledger, surroundings)


if __name__ == "__main__":
    main(sys.argv[1])
