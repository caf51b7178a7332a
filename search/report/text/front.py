"""What does the report say of the front: which networks there are, what the small ones cost, how sure that is?"""

from __future__ import annotations

from collections.abc import Sequence

from fmnist.export.formats import NOTABLE_LOSS, ExportRecord, find_format
from search.format import (
    METRIC_WORDS,
    SHARES,
    count,
    file_size,
    in_metric,
    list_names,
    milliseconds,
    p_value,
    percent,
    points,
    short_count,
    with_noun,
)
from search.report.analysis.front import FrontView
from search.report.text.search import NEAR_BEST
from search.results.front import FrontPoint
from search.results.quantization import QuantizationLoss, quantization_losses
from search.results.result import FinishedStudy


def score_of_point(point: FrontPoint) -> float:
    """Return what a network has on the confirmation split by the study's metric, larger is better."""
    assert point.training.score is not None, "a front is younger than trainings without a score"
    return point.training.score


def found(study: FinishedStudy) -> str:
    """How many networks are delivered, and how large they are.

    Such as: "The search's best networks of every size: 5, from 5,276 parameters (5.3k) to 310,490 (310k); on the
    test images they have from 91.00 to 94.00 %."
    """
    first, last = study.front[0], study.front[-1]
    if first is last:
        return (
            f"One network is delivered, {first.name} with {count(first.record.n_parameters)} parameters: no smaller or "
            f"larger one of the search was of use beside it. It has {percent(first.test_accuracy)} on the test images."
        )
    accuracies = [point.test_accuracy for point in study.front]
    return (
        f"{len(study.front)} networks are delivered, from {short_count(first.record.multiply_adds)} multiply-adds an "
        f"image and {count(first.record.n_parameters)} parameters ({first.name}) to "
        f"{short_count(last.record.multiply_adds)} and {count(last.record.n_parameters)} ({last.name}); on the test "
        f"images they have {100 * min(accuracies):.2f} to {percent(max(accuracies))}."
    )


def smallest_near_best(study: FinishedStudy) -> str:
    """What the cheapest network costs that is nearly as good as the best, both on the confirmation split.

    Such as: "On the confirmation split, by which that may be chosen, the cheapest network within half a point of the
    best (310k, 91.80 %) is 79k with 91.40 %: 25 % of its multiply-adds and 25 % of its parameters."
    """
    metric = study.metric
    best = max(study.front, key=score_of_point)
    near = "half a point" if metric in SHARES else f"{NEAR_BEST:g}"
    cheapest = next(it for it in study.front if score_of_point(it) >= score_of_point(best) - NEAR_BEST)
    shown = in_metric(metric, score_of_point(best))
    where = "On the confirmation split, by which one may choose,"
    if metric != "accuracy":
        where = f"By {METRIC_WORDS[metric]} on the confirmation split, by which one may choose,"
    if best is study.front[0] and len(study.front) > 1:
        return f"{where} the cheapest network, {best.name} ({shown}), is the best."
    if cheapest is best:
        return f"{where} no cheaper network is within {near} of the best, {best.name} ({shown})."
    small, large = cheapest.record, best.record
    in_bytes = ""
    of_small, of_large = (point.exported("litert-int8-full") for point in (cheapest, best))
    if of_small is not None and of_large is not None:
        in_bytes = f"; in 8 bits {size_and_time(of_small)} beside {size_and_time(of_large)}"
    return (
        f"{where} the cheapest network within {near} of the best ({best.name}, {shown}) is {cheapest.name} with "
        f"{in_metric(metric, score_of_point(cheapest))}: it takes "
        f"{percent(small.multiply_adds / large.multiply_adds, 0)} of its multiply-adds and has "
        f"{percent(small.n_parameters / large.n_parameters, 0)} of its parameters{in_bytes}."
    )


def size_and_time(record: ExportRecord) -> str:
    """Write the size of a file and its time for an image alone: "23.4 kB and 0.05 ms"."""
    assert record.n_bytes is not None and record.milliseconds_by_1 is not None
    return f"{file_size(record.n_bytes)} and {milliseconds(record.milliseconds_by_1)}"


def how_chosen(study: FinishedStudy) -> str:
    """What the networks were chosen by, and when the test set was opened."""
    return (
        "Networks were chosen on the selection split and compared on the confirmation split. The test set, "
        f"{with_noun(study.test.n_images, 'image')}, was opened once, for all of them, after every choice; a choice "
        "among them by their test accuracy would flatter again."
    )


def intervals(study: FinishedStudy) -> str:
    """What the intervals in the picture are."""
    if len(study.front) == 1:
        return "Test accuracy with Wilson's 95 % interval."
    return (
        f"Test accuracies with intervals that hold together with 95 % confidence for all {len(study.front)} networks "
        "(Wilson's, with Bonferroni's correction)."
    )


def dominated(study: FinishedStudy) -> str:
    """Which networks turned out to be no better than cheaper ones; nothing where all were worth their cost."""
    names = [point.name for point in study.front if point.is_dominated]
    if not names:
        return ""
    by = "" if study.metric == "accuracy" else f", by {METRIC_WORDS[study.metric]}"
    are = "is" if len(names) == 1 else "are"
    return (
        f"{list_names(names)} {are} dominated on the confirmation split{by}: another network that takes no more "
        "multiply-adds scores at least as much there. That shows when all are trained in full, so it is delivered and "
        "marked."
    )


def losses_of_front(study: FinishedStudy) -> list[tuple[FrontPoint, QuantizationLoss]]:
    """Say what the files of all networks lose by fewer bits, with one correction for all of them."""
    owners = {id(record): point for point in study.front for record in point.exports}
    records = [record for point in study.front for record in point.exports]
    return [(owners[id(loss.record)], loss) for loss in quantization_losses(records)]


def fewer_bits(study: FinishedStudy) -> str:
    """Which files in 8 bits lose more than they should; nothing where there are no such files.

    Such as: "In 8 bits 5.3k loses 0.80 points of accuracy on the test images (p = 0.031): more than the 0.50 points
    that it should cost. p: exact McNemar test, with Holm's correction for 4 files."
    """
    losses = losses_of_front(study)
    if not losses:
        return ""
    n_files, allowed = with_noun(len(losses), "file"), points(NOTABLE_LOSS)
    notable = [(point, loss) for point, loss in losses if loss.is_notable]
    if not notable:
        point, most = max(losses, key=lambda pair: pair[1].loss)
        largest = "none loses any" if most.loss <= 0 else f"the most is {points(most.loss)}, of {point.name}"
        return f"No network loses more than the {allowed} of accuracy that 8 bits should cost ({n_files}): {largest}."
    said = []
    for point, loss in notable:
        p = p_value(loss.p_adjusted)
        what = "" if loss.record.format == "litert-int8-full" else f" ({find_format(loss.record.format).description})"
        said.append(f"{point.name}{what} loses {points(loss.loss)} (p {p if p.startswith('<') else f'= {p}'})")
    return (
        f"In 8 bits {', '.join(said)} of accuracy on the test images: more than the {allowed} that it should cost. p: "
        f"exact McNemar test, with Holm's correction for {n_files}."
    )


def training_of(point: FrontPoint) -> str:
    """How the delivered network of a size was trained, in short."""
    return "taught by finalists" if point.is_taught else "from labels alone"


def marks(point: FrontPoint) -> str:
    """What sets a network of the front apart from the others, in short; nothing for most."""
    said = ["best.keras"] if point.is_best else []
    if point.is_dominated:
        said.append("dominated")
    return ", ".join(said)


def failures(study: FinishedStudy) -> list[str]:
    """A sentence for each file of the front that could not be made."""
    said = []
    for point in study.front:
        for record in point.exports:
            if record.failure is not None:
                description = find_format(record.format).description
                said.append(f"{description} of {point.name} could not be exported: {record.failure}.")
    return said


def picture_note(study: FinishedStudy, views: Sequence[FrontView]) -> str:
    """What stands in the picture beside the networks, and on which scale."""
    said = []
    if study.ensemble is not None or any(view.best_baseline for view in views):
        said.append("Ensemble and baselines are drawn without intervals.")
    if views[0].trials:
        said.append(
            "Grey dots are trials that the search trained to its longest rung. Theirs is another scale: trainings are "
            "shorter, and the accuracy is that on the selection split, which the search looked at."
        )
    if views[0].n_trials_outside:
        said.append(f"Outside the picture: {with_noun(views[0].n_trials_outside, 'such trial')}.")
    return " ".join(said)
