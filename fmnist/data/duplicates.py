"""Images that occur twice, pixel by pixel: within the training images, across their splits, in training and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnist.data.checksums import digests_of
from fmnist.data.split import Split


@dataclass(frozen=True)
class Duplicates:
    """How many images there are of each kind."""

    within_training: int  # training images, of all three splits, that repeat another one
    contradicting: int  # distinct training images that bear more than one label
    selection_in_train: int  # images of the selection split that are in the training split too
    confirmation_in_others: int  # images of the confirmation split that are in the training or selection split too
    test_in_training: int  # test images that are training images too, of whichever split

    def sentences(self) -> list[str]:
        """What is to be said of it; one sentence where there is nothing."""
        across = self.selection_in_train + self.confirmation_in_others
        said = [
            (
                self.within_training,
                f"{_agree(self.within_training, 'training image', 'repeats', 'repeat')} another one",
            ),
            (across, f"{_agree(across, 'image', 'is', 'are')} in two of the splits that learn, select and confirm"),
            (
                self.contradicting,
                f"{_agree(self.contradicting, 'image', 'bears', 'bear')} the labels of several classes",
            ),
            (
                self.test_in_training,
                f"{_agree(self.test_in_training, 'test image', 'is', 'are')} among the training images too, so the test "
                "accuracy flatters",
            ),
        ]
        return [sentence for n, sentence in said if n] or ["No image occurs twice, pixel by pixel"]


def _agree(n: int, noun: str, one: str, many: str) -> str:
    return f"1 {noun} {one}" if n == 1 else f"{n:,} {noun}s {many}"


def count_duplicates(split: Split, test_digests: Sequence[bytes]) -> Duplicates:
    """test_digests: of the test images, see `DataSource`."""
    parts = (split.train, split.selection, split.confirmation)
    train, selection, confirmation = (digests_of(part.images) for part in parts)
    everything, labels = [*train, *selection, *confirmation], np.concatenate([part.labels for part in parts])
    distinct = set(everything)
    n_classes_of = Counter(digest for digest, _ in set(zip(everything, labels.tolist(), strict=True)))
    return Duplicates(
        within_training=len(everything) - len(distinct),
        contradicting=sum(n > 1 for n in n_classes_of.values()),
        selection_in_train=_n_in(selection, set(train)),
        confirmation_in_others=_n_in(confirmation, {*train, *selection}),
        test_in_training=_n_in(test_digests, distinct),
    )


def _n_in(digests: Sequence[bytes], others: set[bytes]) -> int:
    return sum(digest in others for digest in digests)
