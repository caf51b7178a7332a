"""Which images occur twice, pixel by pixel: in the training images, across their splits, in training and test?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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

    @property
    def across_splits(self) -> int:
        """Images in two of the splits that learn, select and confirm."""
        return self.selection_in_train + self.confirmation_in_others


def count_duplicates(split: Split, test_digests: Sequence[bytes]) -> Duplicates:
    """Count the images that occur twice.

    Args:
        split: The training images.
        test_digests: Of the test images, see `fmnist.data.source.DataSource`.
    """
    train = digests_of(split.train.images)
    selection = digests_of(split.selection.images)
    confirmation = digests_of(split.confirmation.images)
    everything = [*train, *selection, *confirmation]
    labels = np.concatenate([split.train.labels, split.selection.labels, split.confirmation.labels])
    labels_of: dict[bytes, set[int]] = {}
    for digest, label in zip(everything, labels.tolist(), strict=True):
        labels_of.setdefault(digest, set()).add(label)
    return Duplicates(
        within_training=len(everything) - len(labels_of),
        contradicting=sum(len(labels) > 1 for labels in labels_of.values()),
        selection_in_train=_n_in(selection, set(train)),
        confirmation_in_others=_n_in(confirmation, {*train, *selection}),
        test_in_training=_n_in(test_digests, labels_of.keys()),
    )


def _n_in(digests: Sequence[bytes], others: Collection[bytes]) -> int:
    return sum(digest in others for digest in digests)
