"""What may be asked for when images are read."""

from __future__ import annotations

import pytest

from fmnist.errors import UserError
from fmnist.reading import Reading


@pytest.mark.parametrize("image_size", [7, 129, 0, -1])
def test_image_size_has_limits(image_size: int) -> None:
    with pytest.raises(UserError, match=f"--image-size must be between 8 and 128 pixels, but got {image_size}"):
        Reading(image_size=image_size)
