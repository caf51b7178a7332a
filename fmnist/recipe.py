"""What is trained, and how? A recipe says everything about one network and its training, and nothing about the data.

`Architecture` (what is built) + `TrainingPlan` (how it learns) = `Recipe`. All are frozen and validated, and go to
JSON and back without loss. The values that a field takes are part of its type; search spaces are checked against the
same. Not covered: seeds, the amount of training and the split, which are arguments of the training. No Keras here.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Annotated, Any, get_origin, get_type_hints

POOLINGS = ("max", "average")
ACTIVATIONS = ("relu", "elu", "silu", "gelu")
HEADS = ("flatten", "global_average", "global_max")
OPTIMIZERS = ("adam", "adamw", "muon", "sgd")
BORDERS = ("black", "edge")
SCHEDULES = ("constant", "cosine", "one_cycle")


@dataclass(frozen=True)
class Between:
    """Numbers from low to high, both included.

    A field that is annotated with it, as in `Annotated[int, Between(1, 3)]`, takes no others.
    """

    low: float
    high: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"at least {self.low:g}"
        return f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class OneOf:
    """Values that the code knows.

    A field that is annotated with it, as in `Annotated[str, OneOf(POOLINGS)]`, takes no others.
    """

    values: tuple[Any, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


Share = Annotated[float, Between(0, 0.95)]


@dataclass(frozen=True)
class Block:
    """Convolutions, and pooling after the last of them, in a residual block after the first (see `Architecture.pools`).

    In a residual block the first convolution sets the width, and all others form a branch whose output is added to
    its output (He et al. 2015).
    """

    filters: Annotated[int, Between(1, 2048)]  # output channels of every convolution of the block
    n_convolutions: Annotated[int, Between(1, 3)]
    kernel_size: Annotated[int, OneOf((1, 3, 5, 7, 9, 11))]  # side of the square kernel, in pixels
    dropout: Share = 0.0  # of channels, dropped at the end of the block
    residual: bool = False

    def __post_init__(self) -> None:
        _require_declared(self)
        _require(
            self.n_convolutions >= 2 or not self.residual,
            "a residual block needs at least 2 convolutions",
            n_convolutions=self.n_convolutions,
        )


@dataclass(frozen=True)
class Architecture:
    """A plain convolutional network: blocks, a head, 0 or more dense layers, one logit per class."""

    image_shape: tuple[int, int, int]  # height, width, channels
    n_classes: Annotated[int, Between(2)]
    blocks: tuple[Block, ...]  # from the image inwards
    pooling: Annotated[str, OneOf(POOLINGS)] = "max"  # 2 x 2, stride 2
    batch_normalization: bool = True
    activation: Annotated[str, OneOf(ACTIVATIONS)] = "relu"
    head: Annotated[str, OneOf(HEADS)] = "global_max"
    dense_units: tuple[Annotated[int, Between(1, 8192)], ...] = ()  # width of each hidden dense layer
    head_dropout: Share = 0.0  # before every dense layer, the logits' included

    def __post_init__(self) -> None:
        height, width, channels = self.image_shape
        _require_declared(self)
        _require(min(height, width, channels) >= 1, "image_shape must be positive", image_shape=self.image_shape)
        _require(len(self.blocks) >= 1, "a network needs at least 1 block", blocks=self.blocks)
        _require(all(u >= 1 for u in self.dense_units), "dense_units must be positive", dense_units=self.dense_units)
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
        """After which convolution of this block, from 1, its pooling comes; None where it has none."""
        block = self.blocks[block_index]
        if not self.pools(block_index):
            return None
        if block.residual:
            return 1
        return block.n_convolutions


@dataclass(frozen=True)
class TrainingPlan:
    """How a network learns. The length is that of a full training; a search may train for less."""

    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = "adamw"  # sgd has Nesterov momentum 0.9
    peak_learning_rate: Annotated[float, Between(1e-9, 10)] = (
        6e-3  # after warm-up; throughout if the schedule is constant
    )
    weight_decay: Annotated[float, Between(0, 1)] = 0.05  # decoupled, times the learning rate; 0 for adam
    schedule: Annotated[str, OneOf(SCHEDULES)] = "one_cycle"
    warmup_fraction: Share = 0.2  # of all steps; not used by a constant schedule
    batch_size: Annotated[int, Between(1, 65536)] = 256  # images a step
    label_smoothing: Share = 0.1  # of the target, spread evenly over the classes
    flip: bool = True  # left-right: every image is mirrored in every second epoch
    shift: Annotated[int, Between(0, 64)] = 1  # largest shift in pixels, each direction
    border: Annotated[str, OneOf(BORDERS)] = "black"  # what a shift brings in; "edge": the pixels next to it
    erasing: Annotated[float, Between(0, 1)] = 0.0  # probability of erasing a rectangle; less in shorter trainings
    averaging: Share = 0.0  # weights are averaged over about the last this share of all steps; 0: not at all
    n_epochs: Annotated[int, Between(1, 10_000)] = 10  # of a full training, each a pass over its training images

    @property
    def augments(self) -> bool:
        """Whether images are changed before they are learned from: mirrored, shifted or partly erased."""
        return self.flip or self.shift > 0 or self.erasing > 0

    def __post_init__(self) -> None:
        _require_declared(self)
        _require(
            self.optimizer != "adam" or self.weight_decay == 0,
            "adam has no weight decay (adamw does)",
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class Recipe:
    """One network and how it learns: all that is needed, with data and a seed, to train it again."""

    architecture: Architecture
    plan: TrainingPlan

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers, ready for `json.dumps`."""
        return plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` was called on.

        Raises:
            TypeError: A key is unknown or missing.
            ValueError: A value cannot be used.
        """
        architecture = dict(fields["architecture"])
        architecture["blocks"] = tuple(Block(**block) for block in architecture["blocks"])
        architecture["image_shape"] = tuple(architecture["image_shape"])
        architecture["dense_units"] = tuple(architecture["dense_units"])
        return cls(Architecture(**architecture), TrainingPlan(**fields["plan"]))

    def __str__(self) -> str:
        return short_form(self)


def max_blocks(image_shape: tuple[int, int, int], head: str) -> int:
    """Return how many blocks images of this shape carry: no pooling may reduce the smaller side below one pixel.

    image_shape: (height, width, channels). head: one of HEADS; a global one does the last block's pooling itself.
    """
    n_halvings = min(image_shape[:2]).bit_length() - 1
    if head == "flatten":
        return n_halvings
    return n_halvings + 1


def short_form(recipe: Recipe) -> str:
    """Return the recipe on one line, such as `c32-p | c64-c64-p | c128-c128 | gmax | d128 | adamw 6e-03`."""
    architecture, plan = recipe.architecture, recipe.plan
    parts = [short_block(block, architecture.pools(i)) for i, block in enumerate(architecture.blocks)]
    parts.append({"flatten": "flat", "global_average": "gavg", "global_max": "gmax"}[architecture.head])
    parts.extend(f"d{units}" for units in architecture.dense_units)
    parts.append(f"{plan.optimizer} {plan.peak_learning_rate:.0e}")
    return " | ".join(parts)


def short_block(block: Block, pools: bool) -> str:
    """Return a block in the words of `short_form`, such as `c32-p-+(c32)` for a residual one that pools."""
    convolution = f"c{block.filters}"
    if block.kernel_size != 3:
        convolution += f"k{block.kernel_size}"
    others = [convolution] * (block.n_convolutions - 1)
    parts = [convolution]
    if block.residual:
        parts += ["p"] * pools
        parts.append(f"+({'-'.join(others)})")
    else:
        parts += others
        parts += ["p"] * pools
    return "-".join(parts)


def plain(value: Any) -> Any:
    """Return the value with lists in the place of tuples, at every depth: what JSON gives back."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _require(condition: bool, requirement: str, **received: Any) -> None:
    if not condition:
        raise ValueError(f"{requirement}, but got {', '.join(f'{k}={v!r}' for k, v in received.items())}")


def _require_declared(fields: object) -> None:
    """Raise ValueError where a field of a dataclass lies outside the values that it is annotated with."""
    for name, accepted in accepted_values(type(fields)).items():
        value = getattr(fields, name)
        if value not in accepted:
            raise ValueError(f"{name} must be {accepted}, but got {name}={value!r}")


@functools.cache
def accepted_values(cls: type) -> dict[str, Between | OneOf]:
    """Return the values that each field of a dataclass takes, by name, for those that are annotated with any."""
    accepted = {}
    for name, hint in get_type_hints(cls, include_extras=True).items():
        if get_origin(hint) is Annotated:
            accepted[name] = hint.__metadata__[0]
    return accepted
