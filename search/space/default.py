"""What is searched for images of one's own? A space file, written out for their size and number.

One space for 16 to 64 pixels, grey or colour, hundreds of images or a hundred thousand: depth and cost go with the
pixels, the length of trainings with the number of images. What comes out is a space file as any other, so that a study
shows what it searches, and a copy of it can be changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
class FilterLine:
    """The widths that are searched for one block."""

    low: int
    high: int
    step: int


@dataclass(frozen=True)
class Entry:
    """A configuration of the portfolio."""

    name: str
    blocks: tuple[Block, ...]
    head: str = "flatten"
    dense_units: tuple[int, ...] = (128,)
    activation: str = "relu"
    optimizer: str = "adamw"


FILTER_LINES = (FilterLine(8, 32, 8), FilterLine(16, 64, 16), *[FilterLine(32, 128, 32)] * 4)
WIDTHS = {1: (32,), 2: (32, 64), 3: (32, 64, 128), 4: (16, 32, 64, 128), 5: (16, 32, 64, 128, 128)}  # by depth


def own_space(image_shape: tuple[int, int, int], n_classes: int, n_train: int, *, flip: bool) -> str:
    """Return the text of the space file.

    Args:
        image_shape: Height, width and channels, in pixels.
        n_classes: Number of classes of the images.
        n_train: Images of the training split.
        flip: Whether trainings mirror images left-right.
    """
    depth = usual_depth(image_shape)
    deepest = min(depth + 1, max_blocks(image_shape, "flatten"))
    batch_sizes = batch_sizes_for(n_train)
    head_dropout, batch_size = 0.3, batch_sizes[0]
    if n_train >= MANY_IMAGES:
        head_dropout, batch_size = 0.2, batch_sizes[1]
    sgd_rate = 0.1
    if batch_sizes[1] >= 128:
        sgd_rate = 0.3
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(
        height=image_shape[0],
        width=image_shape[1],
        n_classes=n_classes,
        n_train=n_train,
        number=lambda n: f"{n:_}",
        max_multiply_adds=multiply_adds_limit(image_shape),
        reduction_factor=REDUCTION_FACTOR,
        **fidelity_for(n_train),
        fewest_blocks=max(1, depth - 1),
        most_blocks=deepest,
        filter_lines=FILTER_LINES[:deepest],
        batch_sizes=batch_sizes,
        flip=flip,
        most_shift=max(1, min(image_shape[:2]) // 8),
        n_epochs=n_epochs_for(n_train),
        portfolio=portfolio_of(depth),
        head_dropout=head_dropout,
        sgd_rate=sgd_rate,
        batch_size=batch_size,
        shift=max(1, min(image_shape[:2]) // 16),
    )


def usual_depth(image_shape: tuple[int, int, int]) -> int:
    """Return the number of blocks of the default network: 2 for 16 pixels, 3 for 28 and 32, 4 for 64."""
    depth = math.floor(math.log2(min(image_shape[:2]) / SMALLEST_MAP))
    return min(max(1, depth), max(WIDTHS))


def multiply_adds_limit(image_shape: tuple[int, int, int]) -> int:
    """Return the most multiply-adds that a network may take per image: in proportion to the pixels."""
    height, width, _ = image_shape
    return max(FEWEST_MULTIPLY_ADDS, round(MULTIPLY_ADDS_A_PIXEL * height * width, -5))


def fidelity_for(n_train: int) -> dict[str, float]:
    """Return the lengths of trials, in images, as the template names them.

    The last rung is a whole power of the reduction factor times the first.
    """
    fewest, most = SEARCH_IMAGES
    wanted = min(max(SEARCH_EPOCHS * n_train, fewest), most)
    n_steps = math.floor(math.log(wanted / SHORTEST_RUNG, REDUCTION_FACTOR) + 1e-9)
    first_rung = math.ceil(wanted / REDUCTION_FACTOR**n_steps / 100) * 100
    search_images = first_rung * REDUCTION_FACTOR**n_steps
    n_reports = 8
    if n_steps > 1:
        n_reports = 4
    accuracy_per_doubling = 0.0
    if n_train >= MANY_IMAGES:
        accuracy_per_doubling = 0.0005
    return {
        "first_rung": first_rung,
        "search_images": search_images,
        "report_every": search_images // n_reports,
        "accuracy_per_doubling": accuracy_per_doubling,
    }


def n_epochs_for(n_train: int) -> int:
    """Return the epochs of a full training: 40, unless that is very many images or very few."""
    fewest, usual, most = EPOCHS
    few_images, many_images = FULL_IMAGES
    return max(fewest, min(most, many_images // n_train, max(usual, round(few_images / n_train))))


def batch_sizes_for(n_train: int) -> list[int]:
    """Return the batch sizes that are searched: small ones where there are few images, for enough steps an epoch."""
    if n_train < 2_000:
        return [32, 64]
    if n_train < 20_000:
        return [32, 64, 128]
    return [64, 128, 256]


def portfolio_of(depth: int) -> Sequence[Entry]:
    """Return the configurations that every study tries first: those of Fashion-MNIST's space, by and large.

    depth: of the default, as `usual_depth` gives it.
    """
    widths = WIDTHS[depth]
    last = depth - 1
    thin = list(widths)
    if depth <= 3:  # wide maps are what costs: where the default is deeper it is narrow already
        thin = [width - FILTER_LINES[i].step for i, width in enumerate(widths)]
    shallow = [max(FILTER_LINES[i].low, width // 2) for i, width in enumerate(widths[: max(1, last)])]
    return (
        Entry("default", blocks_of(widths)),
        Entry("residual first", blocks_of(widths, convolutions={0: 2}, residual=True), activation="gelu"),
        Entry("residual", blocks_of(widths, convolutions={last: 3}, residual=True)),
        Entry(
            "two a block",
            blocks_of(thin, convolutions=dict.fromkeys(range(1, max(last, 2)), 2)),
            head="global_max",
            dense_units=(),
            optimizer="sgd",
        ),
        Entry("small, momentum", blocks_of(shallow), dense_units=(96,), activation="silu", optimizer="sgd"),
    )


def blocks_of(
    widths: Sequence[int], convolutions: Mapping[int, int] | None = None, residual: bool = False
) -> tuple[Block, ...]:
    """Return blocks of 3 x 3 convolutions.

    Args:
        widths: Filters of each block.
        convolutions: How many convolutions a block has, by its index; the others have one.
        residual: Whether those blocks have a residual branch.
    """
    blocks = []
    for index, width in enumerate(widths):
        n_convolutions = (convolutions or {}).get(index, 1)
        blocks.append(Block(width, n_convolutions, kernel_size=3, residual=residual and n_convolutions > 1))
    return tuple(blocks)
