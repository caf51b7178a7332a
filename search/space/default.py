"""The default search space for images of one's own, written out for their size and number.

One space for 16 to 64 pixels, grey or colour, hundreds of images or a hundred thousand: depth and cost go with the
pixels, the length of trainings with the number of images. What comes out is a space file as any other, so that a study
shows what it searches, and a copy of it can be changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from fmnist.recipe import Block, max_blocks

TEMPLATE = "own-images.toml.j2"
SMALLEST_MAP = 3  # pixels: the default network pools while the map stays larger
MULTIPLY_ADDS_A_PIXEL = 16_000  # of the limit, about that of the space of Fashion-MNIST
FEWEST_MULTIPLY_ADDS = 4_000_000  # of the limit: below, an image costs next to nothing anyway
REDUCTION_FACTOR = 4
SEARCH_EPOCHS, SEARCH_IMAGES = 5, (16_000, 500_000)  # of the last rung, and between how many images
SHORTEST_RUNG = 4_000  # images: less tells nothing, and starting a process takes as long
FULL_IMAGES = (40_000, 2_400_000)  # of a full training, where the epochs below do not say otherwise
EPOCHS = (10, 40, 100)  # of a full training: fewest of very many images, usual, most of very few
MANY_IMAGES = 10_000  # to train on; then the selection split has 1,000 and tells half a point


@dataclass(frozen=True)
class _FilterLine:
    """The widths that are searched for one block."""

    low: int
    high: int
    step: int


@dataclass(frozen=True)
class _Entry:
    """A configuration of the portfolio."""

    name: str
    blocks: tuple[Block, ...]
    head: str = "flatten"
    dense_units: tuple[int, ...] = (128,)
    activation: str = "relu"
    optimizer: str = "adamw"


FILTER_LINES = (_FilterLine(8, 32, 8), _FilterLine(16, 64, 16), *[_FilterLine(32, 128, 32)] * 4)
WIDTHS = {1: (32,), 2: (32, 64), 3: (32, 64, 128), 4: (16, 32, 64, 128), 5: (16, 32, 64, 128, 128)}  # by depth


def own_space(image_shape: tuple[int, int, int], n_classes: int, n_train: int, *, flip: bool) -> str:
    """The text of the space file. n_train: images of the training split."""
    depth = usual_depth(image_shape)
    deepest = min(depth + 1, max_blocks(image_shape, "flatten"))
    batch_sizes = _batch_sizes(n_train)
    return _template().render(
        height=image_shape[0],
        width=image_shape[1],
        n_classes=n_classes,
        n_train=n_train,
        number=lambda n: f"{n:_}",
        max_multiply_adds=_max_multiply_adds(image_shape),
        reduction_factor=REDUCTION_FACTOR,
        **_fidelity(n_train),
        fewest_blocks=max(1, depth - 1),
        most_blocks=deepest,
        filter_lines=FILTER_LINES[:deepest],
        batch_sizes=batch_sizes,
        flip=flip,
        most_shift=max(1, min(image_shape[:2]) // 8),
        n_epochs=_n_epochs(n_train),
        portfolio=_portfolio(depth),
        head_dropout=0.2 if n_train >= MANY_IMAGES else 0.3,
        sgd_rate=0.3 if batch_sizes[1] >= 128 else 0.1,
        batch_size=batch_sizes[1] if n_train >= MANY_IMAGES else batch_sizes[0],
        shift=max(1, min(image_shape[:2]) // 16),
    )


def usual_depth(image_shape: tuple[int, int, int]) -> int:
    """Blocks of the default network: 2 for 16 pixels, 3 for 28 and 32, 4 for 64."""
    depth = math.floor(math.log2(min(image_shape[:2]) / SMALLEST_MAP))
    return min(max(1, depth), max(WIDTHS))


def _max_multiply_adds(image_shape: tuple[int, int, int]) -> int:
    height, width, _ = image_shape
    return max(FEWEST_MULTIPLY_ADDS, round(MULTIPLY_ADDS_A_PIXEL * height * width, -5))


def _fidelity(n_train: int) -> dict[str, float]:
    """Lengths in images: the last rung is a whole power of the reduction factor times the first."""
    fewest, most = SEARCH_IMAGES
    wanted = min(max(SEARCH_EPOCHS * n_train, fewest), most)
    n_steps = math.floor(math.log(wanted / SHORTEST_RUNG, REDUCTION_FACTOR) + 1e-9)
    first_rung = math.ceil(wanted / REDUCTION_FACTOR**n_steps / 100) * 100
    search_images = first_rung * REDUCTION_FACTOR**n_steps
    return {
        "first_rung": first_rung,
        "search_images": search_images,
        "report_every": search_images // (4 if n_steps > 1 else 8),
        "accuracy_per_doubling": 0.0005 if n_train >= MANY_IMAGES else 0.0,
    }


def _n_epochs(n_train: int) -> int:
    """40, unless that is very many images or very few."""
    fewest, usual, most = EPOCHS
    few_images, many_images = FULL_IMAGES
    return max(fewest, min(most, many_images // n_train, max(usual, round(few_images / n_train))))


def _batch_sizes(n_train: int) -> list[int]:
    return [32, 64] if n_train < 2_000 else [32, 64, 128] if n_train < 20_000 else [64, 128, 256]


def _portfolio(depth: int) -> Sequence[_Entry]:
    """Those of Fashion-MNIST's space, by and large, at the depth that suits the images."""
    widths = WIDTHS[depth]
    last = depth - 1
    # Wide maps are what costs: where the default is deep it is narrow already.
    thin = [width - FILTER_LINES[i].step for i, width in enumerate(widths)] if depth <= 3 else widths
    middle = range(1, max(last, 2))
    shallow = [max(FILTER_LINES[i].low, width // 2) for i, width in enumerate(widths[: max(1, last)])]
    return (
        _Entry("default", tuple(_block(width) for width in widths)),
        _Entry(
            "residual first",
            tuple(_block(width, 2 if i == 0 else 1, residual=i == 0) for i, width in enumerate(widths)),
            activation="gelu",
        ),
        _Entry("residual", tuple(_block(width, 3 if i == last else 1, i == last) for i, width in enumerate(widths))),
        _Entry(
            "two a block",
            tuple(_block(width, 2 if i in middle else 1) for i, width in enumerate(thin)),
            head="global_max",
            dense_units=(),
            optimizer="sgd",
        ),
        _Entry("small, momentum", tuple(map(_block, shallow)), dense_units=(96,), activation="silu", optimizer="sgd"),
    )


def _block(width: int, n_convolutions: int = 1, residual: bool = False) -> Block:
    return Block(width, n_convolutions, kernel_size=3, residual=residual)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE)
