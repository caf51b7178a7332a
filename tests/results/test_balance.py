"""When are classes uneven, and when so much that accuracy hardly notices the rarest?"""

from __future__ import annotations

import pytest

from search.results.balance import Balance


@pytest.mark.parametrize(
    ("n_rarest", "is_uneven", "is_very_uneven"),
    [(60, False, False), (49, True, False), (20, True, False), (19, True, True)],
)
def test_rarest_class_is_compared_with_an_even_share(n_rarest: int, is_uneven: bool, is_very_uneven: bool) -> None:
    balance = Balance("owl", n_rarest, "tit", 400 - n_rarest, n_images=400, n_classes=4)  # an even share is 100
    assert (balance.is_uneven, balance.is_very_uneven) == (is_uneven, is_very_uneven)
