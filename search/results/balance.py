"""How even are the classes of a study's training images?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search.records.models import DataRecord

VERY_UNEVEN = 0.2  # of an even share: where the rarest class has less, accuracy is hardly changed by losing it
UNEVEN = 0.5  # of an even share of the images: where the rarest class has less, the classes are called uneven


@dataclass(frozen=True)
class Balance:
    """How many training images the rarest and the commonest class have, of all three splits together."""

    rarest: str
    n_rarest: int
    commonest: str
    n_commonest: int
    n_images: int
    n_classes: int

    @property
    def share_of_rarest(self) -> float:
        """Share of the training images that show the rarest class."""
        return self.n_rarest / self.n_images

    @property
    def is_uneven(self) -> bool:
        """Whether the rarest class has less than half of an even share of the images."""
        return self.share_of_rarest < UNEVEN / self.n_classes

    @property
    def is_very_uneven(self) -> bool:
        """Whether the rarest class has less than a fifth of an even share of the images."""
        return self.share_of_rarest < VERY_UNEVEN / self.n_classes


def balance_of(data: DataRecord) -> Balance:
    """Count the images of the rarest and of the commonest class over the train, selection and confirmation splits."""
    counts = np.sum(list(data.class_counts.values()), axis=0)
    rarest, commonest = int(counts.argmin()), int(counts.argmax())
    return Balance(
        rarest=data.class_names[rarest],
        n_rarest=int(counts[rarest]),
        commonest=data.class_names[commonest],
        n_commonest=int(counts[commonest]),
        n_images=int(counts.sum()),
        n_classes=len(counts),
    )
