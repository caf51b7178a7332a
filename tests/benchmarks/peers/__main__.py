"""python -m tests.benchmarks.peers: the tool and what users would do without it, at equal wall time on this machine.

One contender after the other, each in fresh processes with all cores. What has finished in the output folder is kept,
so the same command goes on where it ended. The test set is opened when everything that was asked for has run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from fmnist.errors import UserError
from search.config import DEFAULT_DATASET, MAX_SEED
from tests.benchmarks.peers.curves import accuracy_at
from tests.benchmarks.peers.picture import draw
from tests.benchmarks.peers.records import (
    TITLES,
    Assignment,
    ContenderFiles,
    Images,
    Outcome,
    read_meta,
    read_outcome,
    read_scores,
)
from tests.benchmarks.peers.surroundings import describe
from tests.benchmarks.peers.table import make_markdown, make_rows

ROOT = Path(__file__).resolve().parents[3]
FEWEST_SECONDS = 30
EXIT_FAILURE = 1  # a contender failed
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


class ContenderFailed(Exception):
    """A contender's process ended with an error. The message says where its log is."""


@dataclass(frozen=True)
class Options:
    """What was asked for. Raises UserError where a value cannot be used."""

    seconds: float
    seeds: int
    only: tuple[str, ...]
    one_epoch_share: float
    out: Path
    images: Images
    score: bool

    def __post_init__(self) -> None:
        if not FEWEST_SECONDS <= self.seconds < math.inf:
            raise UserError(f"--seconds must be at least {FEWEST_SECONDS}, but got {self.seconds:g}")
        if not 1 <= self.seeds <= MAX_SEED:
            raise UserError(f"--seeds must be at least 1, but got {self.seeds}")
        if not 0 < self.one_epoch_share < 1:
            raise UserError(f"--one-epoch-share must be between 0 and 1, but got {self.one_epoch_share:g}")
        unknown = [name for name in self.only if name not in TITLES]
        if unknown or not self.only:
            raise UserError(f"--only must name some of {', '.join(TITLES)}, but got {', '.join(unknown) or 'nothing'}")
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out must be a folder, but {self.out} is a file")

    @property
    def jobs(self) -> list[tuple[str, int]]:
        """Contender and seed, seed by seed: what is cut short then has whole rounds."""
        return [(name, seed) for seed in range(self.seeds) for name in TITLES if name in self.only]

    def files(self, name: str, seed: int) -> ContenderFiles:
        return ContenderFiles(self.out / f"{name}-{seed}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0; 1 where a contender failed; 2 for input that cannot be used, said
    in one line; 130 when interrupted."""
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        _check(options)
        _run(options)
    except UserError as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)
        return EXIT_USER_ERROR
    except ContenderFailed as failure:
        print("error:", failure, file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        print("stopped; what has finished is kept. The same command goes on from here.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _check(options: Options) -> None:
    """Everything that could stop a contender later, before the first begins."""
    options.images.find(0)
    for name, seed in options.jobs:
        files = options.files(name, seed)
        if files.is_finished:
            _check_same(options, files)
        elif name == "keras-tuner":
            _check_keras_tuner()


def _check_same(options: Options, files: ContenderFiles) -> None:
    meta = read_meta(files)
    for key, option, asked in (
        ("seconds_asked", "--seconds", options.seconds),
        ("one_epoch_share", "--one-epoch-share", options.one_epoch_share),
    ):
        if meta[key] != asked:
            raise UserError(
                f"{files.root} was made with {option} {meta[key]:g}, but got {asked:g}; pass the same, or another --out"
            )


def _check_keras_tuner() -> None:
    missing = [module for module in ("keras_tuner", "tensorboard") if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(
            f"the contender keras-tuner needs {' and '.join(missing)}; install with "
            "pip install 'fmnist-search[benchmark]', or leave it out with --only"
        )


def _run(options: Options) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    for name, seed in options.jobs:
        _compete(options, name, seed)
    if options.score:
        _score(options)
    _report(options)


def _compete(options: Options, name: str, seed: int) -> None:
    files, label = options.files(name, seed), f"{TITLES[name]}, seed {seed}"
    if files.is_finished:
        print(f"{label}: done before", flush=True)
        return
    if files.root.exists():  # begun, not finished
        shutil.rmtree(files.root)
    files.root.mkdir()
    print(f"{label}: {options.seconds:g} s from {time.strftime('%H:%M:%S')}", flush=True)
    _in_own_process(files.log, "contender", json.dumps(asdict(_assignment(options, name, seed))))
    outcome = read_outcome(files, None)
    best = accuracy_at(outcome.curve, options.seconds)
    shown = "nothing validated in time" if best is None else f"validation {best:.2%}"
    print(f"{label}: {shown}, {outcome.n_trials} trials, {outcome.seconds:.0f} s", flush=True)


def _assignment(options: Options, name: str, seed: int) -> Assignment:
    return Assignment(
        contender=name,
        seed=seed,
        seconds=options.seconds,
        one_epoch_share=options.one_epoch_share,
        images=options.images,
        folder=str(options.files(name, seed).root.absolute()),
        started=time.time(),
    )


def _score(options: Options) -> None:
    """A model is scored once, whatever is asked for later."""
    scored = read_scores(options.out / "scores.json")
    folders = [options.files(name, seed).root.name for name, seed in options.jobs]
    missing = [folder for folder in folders if folder not in scored]
    if missing:
        print("opening the test set", flush=True)
        images = json.dumps(asdict(options.images))
        _in_own_process(options.out / "scoring.txt", "scoring", str(options.out.absolute()), images, *missing)


def _in_own_process(log: Path, module: str, *arguments: str) -> None:
    """Run a module of this package. Raises ContenderFailed."""
    command = [sys.executable, "-m", f"tests.benchmarks.peers.{module}", *arguments]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    with log.open("ab") as file:
        child = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        )
    if child.returncode != 0:
        raise ContenderFailed(f"{module} {log.parent.name} ended with code {child.returncode}; see {log}")


def _report(options: Options) -> None:
    scores = read_scores(options.out / "scores.json")
    outcomes = [_outcome(options, name, seed, scores) for name, seed in options.jobs]
    rows = make_rows(outcomes, options.seconds)
    metas = {f"{name}-{seed}": read_meta(options.files(name, seed)) for name, seed in options.jobs}
    surroundings = describe()
    whole = {
        "seconds": options.seconds,
        "seeds": options.seeds,
        **surroundings,
        "rows": [asdict(row) for row in rows],
        "contenders": {
            folder: meta | {"curve": [asdict(point) for point in outcome.curve], "n_correct": outcome.n_correct}
            for (folder, meta), outcome in zip(metas.items(), outcomes, strict=True)
        },
    }
    (options.out / "benchmark.json").write_text(json.dumps(whole, indent=2) + "\n")
    (options.out / "benchmark.md").write_text(make_markdown(rows, options.seconds, surroundings), encoding="utf-8")
    draw(outcomes, options.seconds, options.out / "benchmark.png")
    print(f"report: {options.out / 'benchmark.md'}")


def _outcome(options: Options, name: str, seed: int, scores: dict[str, dict[str, int]]) -> Outcome:
    files = options.files(name, seed)
    return read_outcome(files, scores.get(files.root.name))


class _Parser(argparse.ArgumentParser):
    """Its errors are the user's, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see python -m tests.benchmarks.peers --help")


def parse(argv: Sequence[str]) -> Options:
    """Raises UserError for options that cannot be used."""
    parser = _Parser(prog="python -m tests.benchmarks.peers", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--seconds", type=float, default=1200.0, metavar="S", help="wall time of each contender (default: 1200)"
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 0 to N - 1 (default: 1)")
    parser.add_argument("--only", metavar="A,B", help=f"contenders (default: all, which is {','.join(TITLES)})")
    parser.add_argument(
        "--one-epoch-share",
        type=float,
        default=0.6,
        metavar="X",
        help="of the time, that i-epoch spends on trainings of one epoch (default: 0.6)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks"), metavar="DIR", help="where all goes (default: benchmarks)"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where the Fashion-MNIST files are (default: the usual places)"
    )
    parser.add_argument(
        "--dataset", default=DEFAULT_DATASET, metavar="NAME|PATH", help="other images, as search.run takes them"
    )
    parser.add_argument("--image-size", type=int, metavar="N", help="as of search.run")
    parser.add_argument("--space", type=Path, metavar="FILE", help="search-space file, as of search.run")
    parser.add_argument(
        "--no-score", dest="score", action="store_false", help="leave the test set closed: more is still to run"
    )
    options = vars(parser.parse_args(argv))
    only = options.pop("only")
    names = tuple(TITLES) if only is None else tuple(name.strip() for name in only.split(",") if name.strip())
    places = {name: options.pop(name) for name in ("data_dir", "space")}
    images = Images(
        dataset=options.pop("dataset"),
        image_size=options.pop("image_size"),
        **{name: None if place is None else str(place.absolute()) for name, place in places.items()},
    )
    return Options(only=names, images=images, **options)


if __name__ == "__main__":
    sys.exit(main())
