"""python -m search.run: search, confirm, retrain, evaluate, report. Run it again to go on where it ended.

Only what the options need is imported before they are read, so that --help and a bad option answer at once.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist.cli import EXIT_FAILURE, EXIT_INTERRUPTED, OneLineParser, ending_cleanly, exit_code_of
from fmnist.data.npz import SUFFIX as NPZ
from fmnist.data.source import COLOURS
from fmnist.export.formats import FORMATS
from fmnist.training.precision import PRECISIONS
from search.cli import take_password_off_the_command_line
from search.config import PRUNERS, SAMPLERS, StudyConfig
from search.machine import default_workers

if TYPE_CHECKING:
    from search.results import StudyResult

LOG_FORMATS = ("text", "json")


def main(argv: Sequence[str] | None = None, **seams: Any) -> int:
    """Run the command line. Returns the exit code: 0; 1 where trainings keep failing, or an export fails; 2 for input
    that cannot be used, said in one line; 130 when interrupted. A bug keeps its trace. seams: see `run_study`."""
    return exit_code_of(lambda: _main(argv, **seams))


def _main(argv: Sequence[str] | None, **seams: Any) -> int:
    if argv is None:
        take_password_off_the_command_line()
    config, run = parse(sys.argv[1:] if argv is None else argv)
    return _run(config, run, **seams)


@dataclass(frozen=True)
class RunOptions:
    """What concerns one run of a study and not the study."""

    search_only: bool = False  # stop after the search
    log_format: str = "text"  # one of LOG_FORMATS
    verbosity: str = "normal"  # one of search.callbacks.reporter.VERBOSITIES
    check: bool = False  # try and estimate, without a study


def parse(argv: Sequence[str]) -> tuple[StudyConfig, RunOptions]:
    """The study's options, and the run's. Raises UserError for options that cannot be used."""
    options = vars(_parser().parse_args(argv))
    run = RunOptions(**{field.name: options.pop(field.name) for field in fields(RunOptions)})
    if options["study"] is None:
        options["study"] = _study_named_after(options["dataset"])
    return StudyConfig(**options), run


def _study_named_after(dataset: str) -> str:
    path = Path(dataset)
    return (path.stem if path.suffix.lower() == NPZ else path.name) or "study"


def _run(config: StudyConfig, run: RunOptions, **seams: Any) -> int:
    from search.callbacks.json_lines import JsonReporter
    from search.callbacks.reporter import RESULT
    from search.callbacks.terminal import Terminal
    from search.estimate.check import check_run
    from search.pipeline import run_study
    from search.study.loop import SearchStopped
    from search.worker.tasks import Interrupted, TrainingFailed

    stop = threading.Event()
    terminal = (JsonReporter if run.log_format == "json" else Terminal)(verbosity=run.verbosity)
    try:
        with ending_cleanly(stop), terminal:
            if run.check:
                return check_run(config, terminal, stop, search_only=run.search_only, **seams)
            study = run_study(config, terminal, stop, search_only=run.search_only, **seams)
    except Interrupted:
        kept = "everything finished so far is kept. The same command goes on from here."
        terminal.say("stopped" if run.check else f"stopped; {kept}", RESULT)
        return EXIT_INTERRUPTED
    except (SearchStopped, TrainingFailed) as failure:
        trace = getattr(failure, "trace", "")
        print(f"error: {failure}\n{trace}".rstrip(), file=sys.stderr)
        return EXIT_FAILURE
    return _exit_code(config, study)


def _exit_code(config: StudyConfig, study: StudyResult) -> int:
    """EXIT_FAILURE if an export that was asked for has failed, else 0."""
    for record in study.exports:
        if record.failure and record.format in config.export:
            return EXIT_FAILURE
    return 0


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m search.run",
        description="Find a strong small CNN for an image data set, prove how good it is, hand it over. "
        "The same command again goes on where it ended.",
        allow_abbrev=False,
    )
    study = parser.add_argument_group("the study")
    study.add_argument("--study", metavar="NAME", help="its name and folder (default: the data set's name)")
    study.add_argument(
        "--trials",
        type=int,
        default=100,
        metavar="N",
        help="trials in the study, however many runs it takes (default: 100)",
    )
    study.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="of this run, confirmation and retraining included (default: no limit)",
    )
    study.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of split, sampler, trials and retraining (default: 0)"
    )
    study.add_argument(
        "--space",
        type=Path,
        metavar="FILE",
        help="search-space file (default: studies/DATASET.toml; for your own images one written for them)",
    )
    study.add_argument(
        "--max-parameters", type=int, metavar="N", help="largest network, in weights (default: the space file's limit)"
    )
    study.add_argument("--sampler", choices=SAMPLERS, default="tpe", help="what suggests configurations (default: tpe)")
    study.add_argument("--pruner", choices=PRUNERS, default="asha", help="what ends bad trials early (default: asha)")
    study.add_argument(
        "--refit-seeds", type=int, default=3, metavar="K", help="times the winner is retrained (default: 3)"
    )
    study.add_argument(
        "--search-only",
        action="store_true",
        help="stop after the search: the test set stays unopened, and trials can be added",
    )
    study.add_argument(
        "--check",
        action="store_true",
        help="begin no study: validate all that a run needs, and estimate its time, memory and disk, in about a minute",
    )
    study.add_argument(
        "--baselines",
        action="store_true",
        help="also fit plain networks and classifiers to compare with, before the test set is opened; --timeout does "
        "not cover them",
    )
    study.add_argument(
        "--export",
        action="append",
        default=[],
        metavar="FORMATS",
        help=f"also save the model as all, or some of {', '.join(format.name for format in FORMATS)}, joined by "
        "commas, and compare each file with it; also later, of a finished study; --timeout does not cover them",
    )
    data = parser.add_argument_group("data and places")
    data.add_argument(
        "--dataset",
        default="fashion-mnist",
        metavar="NAME|PATH",
        help="fashion-mnist, digits, or your own images: class folders of pictures, a folder of four IDX files, or an "
        ".npz file (default: fashion-mnist)",
    )
    data.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the Fashion-MNIST files are (default: $FMNIST_DATA_DIR, then the usual places)",
    )
    data.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="fit each of your own images whole into N x N pixels, its border repeated (default: as they are)",
    )
    data.add_argument(
        "--colour",
        choices=tuple(COLOURS),
        help="turn your own pictures into grey ones or colour ones (default: as they are)",
    )
    data.add_argument(
        "--flip",
        action="store_true",
        help="mirror your own images left-right in training: right for most photographs, wrong for digits, letters and "
        "signs (default: not)",
    )
    data.add_argument(
        "--skip-unreadable", action="store_true", help="leave out picture files that cannot be read (default: an error)"
    )
    data.add_argument(
        "--studies-dir", type=Path, default=Path("studies"), metavar="DIR", help="where studies live (default: studies)"
    )
    data.add_argument(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="write the curves of all trainings there as they go, as runs of TensorBoard (default: not)",
    )
    data.add_argument(
        "--mlflow",
        type=Path,
        metavar="DIR",
        help="enter all trials there as they end, as runs in a database of MLflow (default: not)",
    )
    data.add_argument("--storage", metavar="URL", help="Optuna's storage (default: SQLite in the study's folder)")
    data.add_argument(
        "--dashboard",
        action="store_true",
        help="show the study in Optuna's dashboard, on this machine alone, while the run is under way; later or beside "
        "it: python -m search.dashboard NAME",
    )
    machine = parser.add_argument_group("the machine")
    machine.add_argument(
        "--workers",
        type=int,
        default=default_workers(),
        metavar="N",
        help=f"training processes at a time (default: the cores, here {default_workers()})",
    )
    machine.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of convolutions while learning (default: auto, bfloat16 on processors that have it, without a GPU, "
        "else float32)",
    )
    machine.add_argument(
        "--memory-limit",
        type=int,
        dest="memory_limit_mb",
        metavar="MB",
        help="of each training process (default: 80 %% of the memory, shared equally)",
    )
    shown = parser.add_argument_group("what is shown")
    amount = shown.add_mutually_exclusive_group()
    amount.add_argument(
        "--quiet",
        action="store_const",
        const="quiet",
        dest="verbosity",
        default="normal",
        help="only what came out and what went wrong",
    )
    amount.add_argument(
        "--verbose",
        action="store_const",
        const="verbose",
        dest="verbosity",
        help="also each training's start and every look at the selection split",
    )
    shown.add_argument(
        "--log-format",
        choices=LOG_FORMATS,
        default="text",
        help="json: one object a line on standard output (default: text)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
