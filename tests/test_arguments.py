"""What `run_study` and `open_objective` refuse beside wrong options, and that their remedies work."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest

import search
from fmnist.errors import UserError
from search import Callback, StudyConfig, Terminal, open_objective, run_study
from search.arguments import require_callbacks, require_stop
from search.callbacks.json_lines import JsonReporter


class Noting(Callback):
    """A callback of a user's own."""


CONFIG = {"study": "s", "dataset": "digits"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((CONFIG,), r"^config must be a StudyConfig, but got .* \(dict\); pass StudyConfig\("),
        (("digits",), r"^config must be a StudyConfig, but got 'digits' \(str\)"),
        ((StudyConfig,), r"^config must be a StudyConfig, but got the class StudyConfig"),
        ((None,), r"^config must be a StudyConfig, but got None"),
        (
            (StudyConfig(**CONFIG), True),
            r"^terminal must be a Terminal or None, but got True \(bool\); pass terminal=",
        ),
        ((StudyConfig(**CONFIG), Terminal), r"^terminal must be a Terminal or None, but got the class Terminal"),
        ((StudyConfig(**CONFIG), [Noting()]), r"^terminal must be a Terminal or None, but got .* \(list\)"),
        ((StudyConfig(**CONFIG), None, True), r"^stop must be a threading.Event or None, but got True \(bool\)"),
        ((StudyConfig(**CONFIG), None, threading.Event), "^stop must be .* but got the class Event; pass stop="),
        ((StudyConfig(**CONFIG), None, asyncio.Event()), r"^stop must be a threading.Event .* \(Event\)"),
    ],
)
def test_argument_of_another_kind_is_refused_before_the_run(
    arguments: tuple[Any, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said) as refused:
        run_study(*arguments)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("callbacks", "said"),
    [
        (Noting(), r"callbacks must be a list of Callback instances, but got one Noting; pass it as callbacks=\[...\]"),
        (Noting, r"callbacks must be a list of Callback instances, but got the class Noting"),
        ([Noting], r"each of callbacks must be a Callback instance, but got the class Noting; make one: Noting\(\)"),
        (
            [Noting(), print],
            r"each of callbacks must be a Callback instance, but got .*; derive its class from",
        ),
        ("on_evaluation", r"each of callbacks must be a Callback instance, but got 'on_evaluation' \(str\)"),
        ({"best": Noting()}, r"callbacks must be a list of Callback instances, but got .* \(dict\)"),
        (None, r"callbacks must be a list of Callback instances, but got None; leave it out for none"),
        (5, r"callbacks must be a list of Callback instances, but got 5 \(int\)"),
    ],
)
def test_callbacks_of_another_kind_are_refused(callbacks: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        run_study(StudyConfig(**CONFIG), callbacks=callbacks)


@pytest.mark.follows(
    "callbacks must be a list of Callback instances, but got one {}; pass it",
    "callbacks must be a list of Callback instances, but got {}; leave it out",
    "{} must be a Callback instance, but got {}; make one",
)
def test_callbacks_in_any_collection_are_called() -> None:
    one, other = Noting(), Noting()
    for callbacks in ([one, other], (one, other), iter([one, other])):
        assert require_callbacks(callbacks) == (one, other)
    assert set(require_callbacks({one, other})) == {one, other}
    assert require_callbacks([]) == ()


def test_search_only_is_true_or_false() -> None:
    with pytest.raises(UserError, match=r"search_only must be true or false, but got 'yes' \(str\)"):
        run_study(StudyConfig(**CONFIG), search_only="yes")  # type: ignore[arg-type]


@pytest.mark.follows("stop must be a threading.Event or None")
def test_events_of_threads_and_of_processes_stop_a_run() -> None:
    for event in (threading.Event(), multiprocessing.Event()):
        assert require_stop(event) is event
    assert not require_stop(None).is_set()


@pytest.mark.parametrize("reporter", [Terminal, JsonReporter])
@pytest.mark.follows("verbosity must be one of {}")
def test_reporters_refuse_a_verbosity_or_console_that_there_is_not(reporter: Any) -> None:
    with pytest.raises(UserError, match=r"verbosity must be one of quiet, .* got 'Quiet' .*; did you mean quiet\?"):
        reporter(verbosity="Quiet")
    with pytest.raises(UserError, match=r"console must be a rich.console.Console or None, but got 'quiet'.*verbosity="):
        reporter("quiet")
    reporter(verbosity="quiet")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((CONFIG,), "^config must be a StudyConfig, but got"),
        ((StudyConfig(**CONFIG), [Noting()]), "^callback must be a Callback instance, but got .*; pass one, which may"),
        ((StudyConfig(**CONFIG), Noting), r"^callback must be a Callback instance, .*; make one: Noting\(\)"),
    ],
)
def test_objective_is_refused_as_a_run_is(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        open_objective(*arguments)


def test_objective_without_its_block_says_how_to_open_one() -> None:
    objective = open_objective(StudyConfig(**CONFIG))
    study = optuna.create_study(direction="maximize")
    with pytest.raises(UserError, match=r"with open_objective.* as objective"):
        study.optimize(objective, n_trials=1)
    with pytest.raises(UserError, match=r"with open_objective.* as objective"):
        optuna.create_study(direction="maximize", pruner=objective.pruner)


def test_package_offers_its_names_to_completion_and_to_import_all() -> None:
    names: dict[str, Any] = {}
    exec("from search import *", names)
    assert set(search.__all__) <= names.keys() and set(search.__all__) <= set(dir(search))
    with pytest.raises(AttributeError, match=r"'run_studdy'; did you mean run_study\?"):
        search.run_studdy  # noqa: B018
