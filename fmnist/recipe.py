"""A recipe says everything about one network and its training, and nothing about the data. No Keras here.

`Architecture` (what is built) + `TrainingPlan` (how it learns) = `Recipe`. All are frozen and validated, and go to
JSON and back without loss. Seeds, the amount of training and the split are arguments of `training.train`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

POOLINGS = ("max", "average")
ACTIVATIONS = ("relu", "elu", "silu", "gelu")
HEADS = ("flatten", "global_average", "global_max")
OPTIMIZERS = ("adam", "adamw", "sgd")
BORDERS = ("black", "edge")
SCHEDULES = ("constant", "cosine", "one_cycle")


@dataclass(frozen=True)
class Block:
    """Convolutions, and pooling after the last of them, in a residual block after the first (see `Architecture.pools`).

    In a residual block the first convolution sets the width, and all others form a branch whose output is added to
    its output (He et al. 2015).
    """

    filters: int  # output channels of every convolution of the block
    n_convolutions: int  # 1 to 3
    kernel_size: int  # side of the square kernel, in pixels; odd
    dropout: float = 0.0  # share of channels dropped at the end of the block, 0 to below 1
    residual: bool = False

    def __post_init__(self) -> None:
        _require(self.filters >= 1, "filters of a block must be at least 1", filters=self.filters)
        _require(1 <= self.n_convolutions <= 3, "a block has 1 to 3 convolutions", n_convolutions=self.n_convolutions)
        _require(
            self.n_convolutions >= 2 or not self.residual,
            "a residual block needs at least 2 convolutions",
            n_convolutions=self.n_convolutions,
        )
        _require(
            self.kernel_size % 2 == 1 and 1 <= self.kernel_size <= 11,
            "kernel_size must be odd and between 1 and 11",
            kernel_size=self.kernel_size,
        )
        _require(0 <= self.dropout < 1, "dropout must be in [0, 1)", dropout=self.dropout)


@dataclass(frozen=True)
class Architecture:
    """A plain convolutional network: blocks, a head, 0 or more dense layers, one logit per class."""

    image_shape: tuple[int, int, int]  # height, width, channels
    n_classes: int
    blocks: tuple[Block, ...]  # from the image inwards
    pooling: str = "max"  # one of POOLINGS; 2 x 2, stride 2
    batch_normalization: bool = True
    activation: str = "relu"  # one of ACTIVATIONS
    head: str = "global_max"  # one of HEADS
    dense_units: tuple[int, ...] = ()  # width of each hidden dense layer
    head_dropout: float = 0.0  # before every dense layer, the logits' included

    def __post_init__(self) -> None:
        height, width, channels = self.image_shape
        _require(min(height, width, channels) >= 1, "image_shape must be positive", image_shape=self.image_shape)
        _require(self.n_classes >= 2, "a classifier needs at least 2 classes", n_classes=self.n_classes)
        _require(len(self.blocks) >= 1, "a network needs at least 1 block", blocks=self.blocks)
        _require_choice("pooling", self.pooling, POOLINGS)
        _require_choice("activation", self.activation, ACTIVATIONS)
        _require_choice("head", self.head, HEADS)
        _require(all(u >= 1 for u in self.dense_units), "dense_units must be positive", dense_units=self.dense_units)
        _require(0 <= self.head_dropout < 1, "head_dropout must be in [0, 1)", head_dropout=self.head_dropout)
        deepest = max_blocks(self.image_shape, self.head)
        _require(
            len(self.blocks) <= deepest,
            f"images of {height} x {width} pixels carry at most {deepest} blocks with head {self.head!r}",
            n_blocks=len(self.blocks),
        )

    def pools(self, block_index: int) -> bool:
        """Whether this block ends in 2 x 2 pooling. A global head does the last block's pooling itself."""
        is_last = block_index == len(self.blocks) - 1
        return self.head == "flatten" or not is_last

    def pools_after(self, block_index: int) -> int | None:
        """After which convolution of this block, from 1, its pooling comes; None without."""
        block = self.blocks[block_index]
        if not self.pools(block_index):
            return None
        return 1 if block.residual else block.n_convolutions


@dataclass(frozen=True)
class TrainingPlan:
    """How a network learns. The length is that of a full training; a search may train for less."""

    optimizer: str = "adamw"  # one of OPTIMIZERS; sgd has Nesterov momentum 0.9
    peak_learning_rate: float = 6e-3  # at the end of warm-up, or throughout for a constant schedule
    weight_decay: float = 0.05  # decoupled, times the learning rate; 0 for adam
    schedule: str = "one_cycle"  # one of SCHEDULES
    warmup_fraction: float = 0.2  # share of all steps; not used by a constant schedule
    batch_size: int = 256  # images a step
    label_smoothing: float = 0.1  # share of the target spread evenly over the classes
    flip: bool = True  # left-right: every image is mirrored in every second epoch
    shift: int = 1  # largest shift in pixels, each direction
    border: str = "black"  # one of BORDERS: what comes in over the border of a shifted image; "edge" repeats its pixels
    erasing: float = 0.0  # probability that a random rectangle is erased; less in trainings of less than n_epochs
    averaging: float = 0.0  # weights are averaged over about the last this share of all steps; 0: not at all
    n_epochs: int = 10  # of a full training, each a pass over its training images

    def __post_init__(self) -> None:
        _require_choice("optimizer", self.optimizer, OPTIMIZERS)
        _require_choice("schedule", self.schedule, SCHEDULES)
        rate = self.peak_learning_rate
        _require(0 < rate <= 10, "peak_learning_rate must be in (0, 10]", peak_learning_rate=rate)
        _require(0 <= self.weight_decay <= 1, "weight_decay must be in [0, 1]", weight_decay=self.weight_decay)
        _require(
            self.optimizer != "adam" or self.weight_decay == 0,
            "adam has no weight decay (adamw does)",
            weight_decay=self.weight_decay,
        )
        share = self.warmup_fraction
        _require(0 <= share < 1, "warmup_fraction must be in [0, 1)", warmup_fraction=share)
        _require(self.batch_size >= 1, "batch_size must be at least 1", batch_size=self.batch_size)
        smoothing = self.label_smoothing
        _require(0 <= smoothing < 1, "label_smoothing must be in [0, 1)", label_smoothing=smoothing)
        _require(self.shift >= 0, "shift must be 0 or more pixels", shift=self.shift)
        _require_choice("border", self.border, BORDERS)
        _require(0 <= self.erasing <= 1, "erasing must be in [0, 1]", erasing=self.erasing)
        _require(0 <= self.averaging < 1, "averaging must be in [0, 1)", averaging=self.averaging)
        _require(self.n_epochs >= 1, "n_epochs must be at least 1", n_epochs=self.n_epochs)


@dataclass(frozen=True)
class Recipe:
    """One network and how it learns: all that is needed, with data and a seed, to train it again."""

    architecture: Architecture
    plan: TrainingPlan

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, ready for `json.dumps`."""
        return _plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Recipe:
        """The inverse of `to_dict`. Raises TypeError on unknown or missing keys, ValueError on bad values."""
        architecture = dict(fields["architecture"])
        architecture["blocks"] = tuple(Block(**block) for block in architecture["blocks"])
        architecture["image_shape"] = tuple(architecture["image_shape"])
        architecture["dense_units"] = tuple(architecture["dense_units"])
        return cls(Architecture(**architecture), TrainingPlan(**fields["plan"]))

    def __str__(self) -> str:
        return short_form(self)


def max_blocks(image_shape: tuple[int, int, int], head: str) -> int:
    """How many blocks images of this shape carry: no pooling may reduce the smaller side below one pixel."""
    n_halvings = min(image_shape[:2]).bit_length() - 1
    return n_halvings if head == "flatten" else n_halvings + 1


def short_form(recipe: Recipe) -> str:
    """One line such as `c32-p | c64-c64-p | c128-c128 | gmax | d128 | adamw 6e-03`."""
    architecture, plan = recipe.architecture, recipe.plan
    parts = [_short_block(block, architecture.pools(i)) for i, block in enumerate(architecture.blocks)]
    parts.append({"flatten": "flat", "global_average": "gavg", "global_max": "gmax"}[architecture.head])
    parts.extend(f"d{units}" for units in architecture.dense_units)
    parts.append(f"{plan.optimizer} {plan.peak_learning_rate:.0e}")
    return " | ".join(parts)


def _short_block(block: Block, pools: bool) -> str:
    kernel = "" if block.kernel_size == 3 else f"k{block.kernel_size}"
    first, *others = [f"c{block.filters}{kernel}"] * block.n_convolutions
    pooling = ["p"] if pools else []
    if block.residual:
        return "-".join([first, *pooling, f"+({'-'.join(others)})"])
    return "-".join([first, *others, *pooling])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _require(condition: bool, requirement: str, **received: Any) -> None:
    if not condition:
        raise ValueError(f"{requirement}, but got {', '.join(f'{k}={v!r}' for k, v in received.items())}")


def _require_choice(name: str, value: str, choices: Iterable[str]) -> None:
    _require(value in choices, f"{name} must be one of {', '.join(choices)}", **{name: value})
