"""Is one search with --front better than several, each within a limit of its own, that take as long together?

    python -m tests.benchmarks.front_area --dataset DIR --seconds 3600 --seeds 0 1 2 --out DIR

For each seed, one study with --front and --timeout SECONDS, then one study a limit with --max-multiply-adds and an
equal part of the seconds. DIR may be one that `tests.benchmarks.division` has made: the test set is opened by each
study. Prints a Markdown table of the area under the networks that are delivered, accuracy on the confirmation split
against the decimal logarithm of multiply-adds, from LEAST_ACCURACY and LEAST_COST up to the largest limit: of both, and
their difference, mean and standard deviation over the seeds. The --front study makes its files within its time; the
others make none. What each study has delivered is in --results at once: those of that file are not made again, so that
seeds may be run on several days, and a study that was killed goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search.study.domination import fronts

LIMITS = (650_000, 2_500_000, 8_000_000, 12_000_000)  # a quarter and a half of the default's widths, all of them, more
LEAST_ACCURACY, LEAST_COST = 0.85, 5.5  # where the area begins: multiply-adds as their decimal logarithm
MANY_TRIALS = 100_000  # more than the seconds allow


@dataclass(frozen=True)
class Delivered:
    """A network that a study has delivered."""

    confirm_accuracy: float
    multiply_adds: int
    n_parameters: int


def main() -> None:
    """Run what is missing, and print the table."""
    options = _parse()
    areas = []
    for seed in options.seeds:
        together = delivered_by(f"front-{seed}", seed, None, options)
        apart = []
        for limit in options.limits:
            apart += delivered_by(f"within-{limit}-{seed}", seed, limit, options)
        areas.append([area(networks, max(options.limits)) for networks in (together, apart)])
        for network in (*together, *apart):
            print(f"seed {seed}: {network}")
    print(table(options.seeds, areas))


def delivered_by(study: str, seed: int, limit: int | None, options: argparse.Namespace) -> list[Delivered]:
    """Return the networks that a study has delivered, after running it where the results do not have it.

    limit: of multiply-adds; None: with --front.
    """
    results = {}
    if options.results.exists():
        results = json.loads(options.results.read_text(encoding="utf-8"))
    if study in results:
        return [Delivered(**network) for network in results[study]]
    report = _run(study, seed, limit, options)
    networks = networks_of_front(report) if limit is None else [network_of_search(report)]
    results[study] = [asdict(network) for network in networks]
    options.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return networks


def networks_of_front(report: dict[str, Any]) -> list[Delivered]:
    """Return the networks of a study with --front. report: its report.json."""
    networks = []
    for row in report["front"]:
        networks.append(Delivered(row["confirm_accuracy"], row["multiply_adds"], row["n_parameters"]))
    return networks


def network_of_search(report: dict[str, Any]) -> Delivered:
    """Return the single network of a study. report: its report.json."""
    best = report["best"]
    return Delivered(report["delivered"]["confirm_accuracy"], best["multiply_adds"], best["n_parameters"])


def area(networks: Sequence[Delivered], most_multiply_adds: int) -> float:
    """Return the area that networks dominate: accuracy times decimal logarithms of multiply-adds."""
    points = [(network.confirm_accuracy, math.log10(network.multiply_adds)) for network in networks]
    return dominated_area(points, LEAST_ACCURACY, LEAST_COST, math.log10(most_multiply_adds))


def dominated_area(
    points: Sequence[tuple[float, float]], least_score: float, least_cost: float, most_cost: float
) -> float:
    """Return the area that points dominate above the least score, between two costs. points: score and cost of each."""
    scores, costs = [score for score, _ in points], [cost for _, cost in points]
    total, front = 0.0, next(fronts(scores, costs))
    for i, after in zip(front, [*front[1:], None], strict=True):
        until = most_cost if after is None else min(costs[after], most_cost)
        total += max(0.0, scores[i] - least_score) * max(0.0, until - max(costs[i], least_cost))
    return total


def table(seeds: Sequence[int], areas: Sequence[Sequence[float]]) -> str:
    """Return the areas as Markdown. areas: by seed, of the study with --front, and of the separate ones."""
    lines = ["| seed | --front | separate searches | difference |", "| --- | ---: | ---: | ---: |"]
    for seed, (together, apart) in zip(seeds, areas, strict=True):
        lines.append(f"| {seed} | {together:.4f} | {apart:.4f} | {together - apart:+.4f} |")
    if len(areas) > 1:
        differences = [together - apart for together, apart in areas]
        columns = [*zip(*areas, strict=True), differences]
        cells = [f"{statistics.fmean(column):.4f} ± {statistics.stdev(column):.4f}" for column in columns]
        lines.append(f"| mean ± standard deviation | {' | '.join(cells)} |")
    return "\n".join(lines)


def _run(study: str, seed: int, limit: int | None, options: argparse.Namespace) -> dict[str, Any]:
    """Run a study, or go on with it, and return its report.json. For limit see `delivered_by`."""
    seconds, more = options.seconds, ["--front"]
    if limit is not None:
        seconds, more = options.seconds / len(options.limits), ["--max-multiply-adds", str(limit)]
    words = [sys.executable, "-m", "search.run", "--study", study, "--studies-dir", str(options.out)]
    words += ["--dataset", options.dataset, "--seed", str(seed), "--trials", str(MANY_TRIALS)]
    words += ["--timeout", str(seconds), *more]
    if options.space is not None:
        words += ["--space", str(options.space)]
    subprocess.run(words, check=True)
    return json.loads((options.out / study / "report.json").read_text(encoding="utf-8"))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion-mnist", help="as search.run takes it (default: %(default)s)")
    parser.add_argument("--space", type=Path, help="as search.run takes it (default: the data set's)")
    parser.add_argument("--seconds", type=float, default=3600.0, help="of each side (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--limits", type=int, nargs="+", default=list(LIMITS), help="of multiply-adds")
    parser.add_argument("--out", type=Path, required=True, help="folder of the studies")
    parser.add_argument("--results", type=Path, help="JSON file of what they deliver (default: OUT/delivered.json)")
    options = parser.parse_args()
    options.results = options.results or options.out / "delivered.json"
    return options


if __name__ == "__main__":
    main()
