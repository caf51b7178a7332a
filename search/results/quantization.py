"""What does a file with fewer bits lose? Its accuracy on the test images beside that of the model it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmnist.export.formats import NOTABLE_LOSS, ExportRecord, find_format
from fmnist.metrics.intervals import Interval, holm, mcnemar_p, wilson_95


@dataclass(frozen=True)
class QuantizationLoss:
    """A file with fewer bits and its model, on the same test images."""

    record: ExportRecord
    accuracy: float
    interval: Interval  # Wilson 95 % interval of the accuracy
    loss: float  # the model's accuracy less the file's
    n_only_file_right: int  # images that the file has right and the model wrong
    n_only_model_right: int
    p_adjusted: float  # exact McNemar test, with Holm's correction for all such files

    @property
    def is_notable(self) -> bool:
        """Whether the file loses more than fewer bits should cost, see `NOTABLE_LOSS`."""
        return self.loss > NOTABLE_LOSS


def quantization_losses(records: Sequence[ExportRecord]) -> list[QuantizationLoss]:
    """Say what the files among these that have fewer bits lose, in their order.

    Files that failed are left out, and those of versions before 0.7.0, which did not count what is needed.
    """
    counted: list[tuple[ExportRecord, float, int, int]] = []
    for record in records:
        if record.failure is not None or find_format(record.format).is_exact:
            continue
        accuracy, n_only_file, n_only_model = record.accuracy, record.n_only_file_right, record.n_only_model_right
        if accuracy is not None and n_only_file is not None and n_only_model is not None:
            counted.append((record, accuracy, n_only_file, n_only_model))
    p_values = holm([mcnemar_p(n_only_file, n_only_model) for _, _, n_only_file, n_only_model in counted])
    losses = []
    for (record, accuracy, n_only_file, n_only_model), p_adjusted in zip(counted, p_values, strict=True):
        losses.append(
            QuantizationLoss(
                record=record,
                accuracy=accuracy,
                interval=wilson_95(round(accuracy * record.n_images), record.n_images),
                loss=(n_only_model - n_only_file) / record.n_images,
                n_only_file_right=n_only_file,
                n_only_model_right=n_only_model,
                p_adjusted=p_adjusted,
            )
        )
    return losses
