"""The digits' space, and one that contains it: every way in which a space may grow, in one file."""

from __future__ import annotations

from tests.support.spaces import DIGITS_TEXT

GROWTH = {  # what stands in the digits' file -> what stands in the larger one
    "max_parameters = 200_000": "max_parameters = 400_000",
    "max_multiply_adds = 5_000_000\n": "",
    'activation = { choices = ["relu", "elu", "silu"] }': 'activation = { choices = ["gelu", "silu", "elu", "relu"] }',
    "dense_units = { low = 16,": "dense_units = { low = 8,",
    "{ low = 8, high = 32, step = 8 }": "{ low = 8, high = 64, step = 4 }",
    "n_convolutions = { low = 1, high = 2 }": "n_convolutions = { low = 1, high = 3 }",
    "kernel_size = 3": "kernel_size = { choices = [5, 3] }",
    "dropout = { low = 0.0, high = 0.3, step = 0.1 }": "dropout = { low = 0.0, high = 0.6, step = 0.05 }",
    "batch_size = { choices = [32, 64] }": "batch_size = { choices = [16, 32, 64] }",
    "shift = { low = 0, high = 1 }": "shift = { choices = [2, 1, 0] }",
    "averaging = 0.0": "averaging = { low = 0.0, high = 0.5 }",
    "adamw = { low = 3e-4, high = 2e-2, log = true }": "adamw = { low = 1e-4, high = 5e-2, log = true }",
    "adam = { low = 3e-4, high = 1e-2, log = true }": "adam = { low = 1e-4, high = 1e-2, log = true }",
    # the portfolio has each parameter that varies
    "block1_n_convolutions = 1\n": "block1_n_convolutions = 1\nblock1_kernel_size = 3\n",
    "block2_n_convolutions = 2\n": "block2_n_convolutions = 2\nblock2_kernel_size = 3\n",
    "erasing = 0.0\n": "erasing = 0.0\naveraging = 0.0\n",
}


def replaced(text: str, changes: dict[str, str]) -> str:
    """The text with all places of each changed; every one has to be there."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the text any more"
        text = text.replace(old, new)
    return text


WIDER_TEXT = replaced(DIGITS_TEXT, GROWTH)
