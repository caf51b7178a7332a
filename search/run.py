"""python -m search.run: search, confirm, retrain, evaluate, report. Run it again to go on where it ended.

Only what the options need is imported before they are read, so that --help and a bad option answer at once.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from fmnist.command_line import OneLineParser
from fmnist.precision import PRECISIONS
from search.command_line import exit_code_of, take_password_off_the_command_line
from search.config import PRUNERS, SAMPLERS, StudyConfig, default_workers

EXIT_FAILURE = 1  # training fails again and again
EXIT_INTERRUPTED = 130  # what a shell reports after Ctrl-C


def main(argv: Sequence[str] | None = None, **seams: Any) -> int:
    """Run the command line. Returns the exit code: 0; 1 where every training fails for the same reason; 2 for input
    that cannot be used, said in one line; 130 when interrupted. A bug keeps its trace. seams: see `run_study`."""
    return exit_code_of(lambda: _main(argv, **seams))


def _main(argv: Sequence[str] | None, **seams: Any) -> int:
    if argv is None:
        take_password_off_the_command_line()
    config, search_only = parse(sys.argv[1:] if argv is None else argv)
    return _run(config, search_only, **seams)


def parse(argv: Sequence[str]) -> tuple[StudyConfig, bool]:
    """The study's options, and whether to stop after the search. Raises UserError for options that cannot be used."""
    options = vars(_parser().parse_args(argv))
    search_only = options.pop("search_only")
    if options["study"] is None:
        options["study"] = Path(options["dataset"]).name or "study"
    return StudyConfig(**options), search_only


def _run(config: StudyConfig, search_only: bool, **seams: Any) -> int:
    from search.pipeline import run_study
    from search.study import SearchStopped
    from search.terminal import Terminal
    from search.worker import Interrupted, TrainingFailed

    stop = threading.Event()
    terminal = Terminal()
    try:
        with _ending_cleanly(stop), terminal:
            run_study(config, terminal, stop, search_only=search_only, **seams)
    except Interrupted:
        terminal.say("stopped; everything finished so far is kept. The same command goes on from here.")
        return EXIT_INTERRUPTED
    except (SearchStopped, TrainingFailed) as failure:
        trace = getattr(failure, "trace", "")
        print(f"error: {failure}\n{trace}".rstrip(), file=sys.stderr)
        return EXIT_FAILURE
    return 0


@contextmanager
def _ending_cleanly(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop`, once; a second one acts as it always does."""
    previous = {}

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()
        for signal_number, handler in previous.items():
            signal.signal(signal_number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, ask_to_stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
    study.add_argument("--space", type=Path, metavar="FILE", help="search-space file (default: studies/DATASET.toml)")
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
        "--baselines",
        action="store_true",
        help="also fit plain networks and classifiers to compare with, before the test set is opened; --timeout does "
        "not cover them",
    )
    data = parser.add_argument_group("data and places")
    data.add_argument(
        "--dataset",
        default="fashion-mnist",
        metavar="NAME|DIR",
        help="fashion-mnist, digits, or a folder of four IDX files (default: fashion-mnist)",
    )
    data.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the Fashion-MNIST files are (default: $FMNIST_DATA_DIR, then the usual places)",
    )
    data.add_argument(
        "--studies-dir", type=Path, default=Path("studies"), metavar="DIR", help="where studies live (default: studies)"
    )
    data.add_argument("--storage", metavar="URL", help="Optuna's storage (default: SQLite in the study's folder)")
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
        help="of convolutions while learning (default: auto, bfloat16 on processors that have it, else float32)",
    )
    machine.add_argument(
        "--memory-limit",
        type=int,
        dest="memory_limit_mb",
        metavar="MB",
        help="of each training process (default: 80 %% of the memory, shared equally)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
