"""In which formats can a model be exported? What each is called, needs, and has to keep of the model.

The supervisor loads this module, and it loads nothing heavy itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fmnist.errors import UserError, not_installed
from fmnist.values import convert, did_you_mean, shown, to_items

# Runtimes add the same float32 numbers in other orders, which moved probabilities by 1e-6 at most where it was measured
# (10,000 images); a layer that is left out, or still in training, moves them by 0.01 and more. There is room between.
LARGEST_DIFFERENCE = 1e-4
# Numbers of 8 bits move every probability a little. Where the two likeliest classes are closer than this, either may
# come out first; where they are not, a model that says something else is another model.
CLEAR_LEAD = 0.1
# Share of the images whose clear class may be another: with weights in 8 bits, and with all that is computed in 8 bits.
MOST_CHANGED_BY_WEIGHTS = 0.01
MOST_CHANGED_BY_ALL = 0.05
N_TIMED_THREADS = 1  # on which predictions are timed
NOTABLE_LOSS = 0.005  # of accuracy, by fewer bits: the report says of a file that loses more that it does


@dataclass(frozen=True)
class Format:
    """One way to save a model."""

    name: str  # as --format takes it
    ending: str  # of the file's name, behind the model's
    description: str
    runtime: str  # that loads it back, as `fmnist.export.runtimes` names it
    load_lines: str  # Python that uses it; {file}: where it is
    modules: tuple[str, ...] = ()  # that must be installed to make and to check it, beside this project's own needs
    extra: str | None = None  # of this project, which installs them
    most_changed: float | None = (
        None  # share of the images whose clear class may change; None: the same float32 numbers
    )
    is_calibrated: bool = False  # all is computed in 8 bits, of which training images have to show the ranges

    def usage(self, file: str) -> str:
        """Write lines of Python that load the file and predict.

        They expect `images`, float32 (n, height, width, channels), 0 to 255, and give `probabilities`.
        """
        return self.load_lines.format(file=file)

    def file_name(self, model: Path) -> str:
        """Name the file, a folder for a SavedModel, that this model is exported to."""
        return f"{model.stem}{self.ending}"

    @property
    def is_exact(self) -> bool:
        """Whether the file computes with the model's own float32 numbers."""
        return self.most_changed is None

    @property
    def limit(self) -> str:
        """What the comparison with the model asks of this format, in words."""
        if self.most_changed is None:
            return f"no probability differs by more than {LARGEST_DIFFERENCE:g}"
        share = 100 * self.most_changed
        return f"at most {share:g} % of the images change a class that led by more than {CLEAR_LEAD:g}"


_LITERT: dict[str, Any] = {
    "runtime": "ai_edge_litert",
    "modules": ("ai_edge_litert",),
    "extra": "litert",
}
_LITERT_LINES = """from ai_edge_litert.interpreter import Interpreter
run = Interpreter("{file}").get_signature_runner()
probabilities = run(pixels=images)["output_0"]"""
_ONNX: dict[str, Any] = {
    "runtime": "onnxruntime",
    "modules": ("onnx", "tf2onnx", "onnxruntime"),
    "extra": "onnx",
    "load_lines": """import onnxruntime
session = onnxruntime.InferenceSession("{file}")
(probabilities,) = session.run(None, {{"pixels": images}})""",
}
_IN_8_BITS: dict[str, Any] = {
    "most_changed": MOST_CHANGED_BY_ALL,
    "is_calibrated": True,
}

FORMATS = (
    Format(
        name="keras",
        ending=".keras",
        description="Keras",
        runtime="keras",
        load_lines="""import keras
model = keras.saving.load_model("{file}")
probabilities = model.predict(images)""",
    ),
    Format(
        name="savedmodel",
        ending="-savedmodel",
        description="TensorFlow SavedModel",
        runtime="tensorflow",
        load_lines="""import tensorflow as tf
model = tf.saved_model.load("{file}")
probabilities = model.signatures["serving_default"](pixels=tf.constant(images))["output_0"].numpy()""",
    ),
    Format(name="litert", ending=".tflite", description="LiteRT", load_lines=_LITERT_LINES, **_LITERT),
    Format(
        name="litert-int8",
        ending="-int8.tflite",
        description="LiteRT with weights in 8 bits",
        most_changed=MOST_CHANGED_BY_WEIGHTS,
        load_lines=_LITERT_LINES,
        **_LITERT,
    ),
    Format(
        name="litert-int8-full",
        ending="-int8-full.tflite",
        description="LiteRT in 8 bits",
        load_lines=_LITERT_LINES.replace("images", 'images.round().astype("uint8")'),
        **_IN_8_BITS,
        **_LITERT,
    ),
    Format(name="onnx", ending=".onnx", description="ONNX", **_ONNX),
    Format(name="onnx-int8", ending="-int8.onnx", description="ONNX in 8 bits", **_IN_8_BITS, **_ONNX),
)


FORMATS_REQUIRED = f"all or some of {', '.join(format.name for format in FORMATS)}, joined by commas"


def find_format(name: str) -> Format:
    """Find a format by its name.

    Raises:
        ValueError: there is none of this name.
    """
    for format in FORMATS:
        if format.name == name:
            return format
    raise ValueError(f"a format must be one of {', '.join(f.name for f in FORMATS)}, but got {name!r}")


def read_formats(words: Sequence[str] | str, option: str, *, is_calibrated: bool = True) -> tuple[str, ...]:
    """Read names of formats from words such as `onnx,litert` and `all`.

    Args:
        words: each with one name, or several joined by commas; or one such word.
        option: that they came with, for the message.
        is_calibrated: whether there are images to calibrate formats on; if not, `all` leaves those out that need them.

    Returns:
        The names in the order of FORMATS.

    Raises:
        UserError: a word names no format.
    """
    names = [format.name for format in FORMATS]
    try:
        texts = [convert(str, word) for word in to_items(words)]
    except ValueError:
        raise UserError(f"{option} must be {FORMATS_REQUIRED}, but got {shown(words)}") from None
    asked = {part.strip() for text in texts for part in text.split(",")}
    for name in sorted(asked - {*names, "all"}):
        raise UserError(f"{option} must be {FORMATS_REQUIRED}, but got {name!r}{did_you_mean(name, [*names, 'all'])}")
    return tuple(
        format.name
        for format in FORMATS
        if format.name in asked or ("all" in asked and (is_calibrated or not format.is_calibrated))
    )


def require_calibration(names: Sequence[str], remedy: str) -> None:
    """Raise UserError where one of these formats has to be calibrated, for which there are no images.

    remedy: where to pass them, for the message.
    """
    for name in names:
        if find_format(name).is_calibrated:
            raise UserError(
                f"{name} needs training images that show it the ranges of what the network computes, but got none; "
                f"{remedy}"
            )


def require_runtimes(names: Sequence[str], option: str) -> None:
    """Require that these formats can be made, and checked, with what is installed.

    Args:
        names: of FORMATS.
        option: that they came with, for the message.

    Raises:
        UserError: a module is missing; the message names the extra that installs it.
    """
    lacking: list[str] = []  # names of formats
    modules: dict[str, None] = {}  # each once, in order
    extras: dict[str, None] = {}
    for name in names:
        format = find_format(name)
        missing = [module for module in format.modules if find_spec(module) is None]
        if missing and format.extra is not None:
            lacking.append(name)
            modules.update(dict.fromkeys(missing))
            extras[format.extra] = None
    if lacking:
        raise not_installed(f"{option} {','.join(lacking)}", list(modules), list(extras))


HALF_WRITTEN = ".writing-"  # how the names of files and folders that are not complete yet begin


@dataclass(frozen=True)
class ExportRecord:
    """A format, made and compared with the Keras model on the same images, or why there is none."""

    format: str  # name of one of FORMATS
    file: str  # its name, a folder's for a SavedModel
    seconds: float  # conversion, check and timing
    n_threads: int  # that the times were measured on
    n_images: int  # compared on
    runtime: str | None = None  # and its version
    largest_difference: float | None = None  # of any probability
    n_same_class: int | None = None  # images whose likeliest class is the Keras model's
    accuracy: float | None = None  # where the images' labels are known
    n_only_file_right: int | None = None  # images that the file has right and the model wrong; None before 0.7.0
    n_only_model_right: int | None = None  # and the other way round
    n_bytes: int | None = None
    milliseconds_by_1: float | None = None  # an image, one at a time: see runtimes.Timing
    milliseconds_by_256: float | None = None  # an image, 256 at a time
    p95_milliseconds_by_1: float | None = None  # what 95 % of these calls take at most; None before version 0.7.0
    p95_milliseconds_by_256: float | None = None
    peak_bytes: int | None = None  # memory of a process that predicts images one at a time; None where unknown
    runtime_bytes: int | None = None  # of these, before the file was loaded
    unaccelerated: tuple[str, ...] | None = None  # operations that the runtime's fast kernels leave out; None: unknown
    failure: str | None = None  # why there is no file, in words; None where there is one
    trace: str = ""  # of the failed process
    model: str = "best.keras"  # name of the exported file; the only one that studies before version 0.7.0 exported
    n_model_bytes: int | None = None  # its size; None before version 0.7.0


def in_figures(difference: float) -> str:
    """Write a difference of probabilities in two significant figures: `0`, `3.1e-7`, `0.04`."""
    if difference >= 1e-3 or difference == 0:
        return f"{difference:.2g}"
    figures, exponent = f"{difference:.1e}".split("e")
    return f"{figures}e{int(exponent)}"
