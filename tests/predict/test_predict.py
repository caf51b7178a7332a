"""Pictures of every kind, made here, told apart by a model that names the quadrant with the most light."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image, ImageDraw

from fmnist.data.decode import MAX_PIXELS, UnreadablePicture
from fmnist.errors import UserError
from fmnist.metrics.calibration import with_temperature
from fmnist.model.metadata import ModelMetadata, write_metadata
from fmnist.predict.__main__ import main
from fmnist.predict.files import read_content
from fmnist.predict.predictions import Prediction, predict
from tests.support.made_images import white_tiff_of_12_bits

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[2]
QUADRANTS = ("top left", "top right", "bottom left", "bottom right")
SIDE = 16
UPRIGHT_OF = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}


def quadrant_model(n_channels: int = 1, side: int = SIDE) -> keras.Model:
    """Says in which quadrant most light is, by its logits: twenty times the share of all light in each."""
    inputs = keras.Input((side, side, n_channels))
    x = keras.layers.AveragePooling2D(side // 2)(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Flatten()(keras.ops.mean(x, axis=-1, keepdims=True))
    return keras.Model(inputs, keras.layers.Softmax()(20 * x))


def save(model: keras.Model, path: Path, notes: ModelMetadata | None) -> Path:
    model.save(path)
    if notes is not None:
        write_metadata(path, notes)
    return path


NOTES = ModelMetadata(QUADRANTS, (SIDE, SIDE, 1), background=10.0, contrast=255.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of grey images on black."""
    return save(quadrant_model(), tmp_path_factory.mktemp("model") / "grey.keras", NOTES)


@pytest.fixture(scope="module")
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    notes = ModelMetadata(QUADRANTS, (SIDE, SIDE, 3), background=120.0)
    return save(quadrant_model(3), tmp_path_factory.mktemp("model") / "colour.keras", notes)


@pytest.fixture(scope="module")
def light_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of grey images on white."""
    notes = ModelMetadata(QUADRANTS, (SIDE, SIDE, 1), background=250.0, contrast=255.0)
    return save(quadrant_model(), tmp_path_factory.mktemp("model") / "light.keras", notes)


def drawing(mode: str = "L", size: tuple[int, int] = (90, 60), ground="white", ink="black") -> Image.Image:
    """A frame around a square block in its top left quadrant, somewhere to the right on its ground."""
    picture = Image.new(mode, size, ground)
    width, height = size
    side = min(size) // 2
    left, top = width - side - side // 6, (height - side) // 2
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, left + side, top + side), outline=ink, width=max(1, side // 20))
    draw.rectangle((left, top, left + side // 2 - 1, top + side // 2 - 1), fill=ink)
    return picture


def written(path: Path, picture: Image.Image, **options) -> Path:
    picture.save(path, **options)
    return path


def only(predictions: list[Prediction]) -> Prediction:
    (prediction,) = predictions
    assert prediction.error is None, prediction.error
    return prediction


# --- what a picture shows


def test_dark_thing_on_white_is_inverted_trimmed_and_named(model: Path, tmp_path: Path) -> None:
    found = only(predict(model, [written(tmp_path / "a.png", drawing())]))
    assert (found.class_name, found.inverted, found.fitted) == ("top left", True, True)
    assert found.original_size == (90, 60)
    assert found.probability > 0.9
    assert found.top[0].class_name == "top left" and len(found.top) == 3


def test_light_thing_on_black_is_not_inverted(model: Path, tmp_path: Path) -> None:
    found = only(predict(model, [written(tmp_path / "a.png", drawing(ground="black", ink="white"))]))
    assert (found.class_name, found.inverted) == ("top left", False)


def test_without_inversion_the_ground_is_what_is_light(model: Path, tmp_path: Path) -> None:
    found = only(predict(model, [written(tmp_path / "a.png", drawing())], invert=False))
    assert found.class_name != "top left" and not found.inverted


def test_model_of_light_images_takes_light_grounds_as_they_are_and_inverts_dark_ones(
    light_model: Path, tmp_path: Path
) -> None:
    light = only(predict(light_model, [written(tmp_path / "a.png", drawing())]))
    dark = only(predict(light_model, [written(tmp_path / "b.png", drawing(ground="black", ink="white"))]))
    assert (light.inverted, dark.inverted) == (False, True)
    assert light.class_name == dark.class_name != "top left"


@pytest.mark.parametrize(("ground", "ink", "inverted"), [(110, 20, True), (140, 250, False), (60, 200, False)])
def test_on_a_grey_ground_the_thing_decides_what_is_inverted(
    model: Path, tmp_path: Path, ground: int, ink: int, inverted: bool
) -> None:
    found = only(predict(model, [written(tmp_path / "a.png", drawing(ground=ground, ink=ink))]))
    assert (found.class_name, found.inverted) == ("top left", inverted)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_picture_is_turned_upright_as_its_camera_says(
    model: Path, tmp_path: Path, suffix: str, orientation: int
) -> None:
    upright = drawing("RGB")
    back = {3: 180, 6: 90, 8: 270}[orientation]
    stored = upright.rotate(back, expand=True)
    exif = stored.getexif()
    exif[0x0112] = orientation
    found = only(predict(model, [written(tmp_path / f"a.{suffix}", stored, exif=exif)]))
    assert (found.class_name, found.original_size) == ("top left", upright.size)
    plain = only(predict(model, [written(tmp_path / f"b.{suffix}", stored)]))
    assert plain.class_name != "top left"


def transparent(ink: str) -> Image.Image:
    return drawing("RGBA", ground=(0, 0, 0, 0), ink=ink)


@pytest.mark.parametrize(("ink", "inverted"), [("black", True), ("navy", True), ("white", False), ("#f8f8ff", False)])
def test_transparent_picture_is_laid_where_its_thing_can_be_seen(
    model: Path, tmp_path: Path, ink: str, inverted: bool
) -> None:
    for suffix in ("png", "webp"):
        found = only(predict(model, [written(tmp_path / f"a.{suffix}", transparent(ink), lossless=True)]))
        assert (found.class_name, found.inverted) == ("top left", inverted), suffix


def test_transparent_picture_that_may_not_be_inverted_lies_on_the_models_own_ground(
    model: Path, light_model: Path, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.png", transparent("white"))
    assert only(predict(model, [path], invert=False)).class_name == "top left"
    dark = written(tmp_path / "b.png", transparent("black"))
    assert only(predict(light_model, [dark], invert=False)).class_name == only(predict(light_model, [dark])).class_name


def palette() -> Image.Image:
    return drawing("RGB", ground="yellow", ink="purple").quantize(8)


def transparent_palette() -> Image.Image:
    picture = drawing("RGB", ground="white", ink="purple").quantize(8)
    picture.info["transparency"] = picture.getpixel((0, 0))
    return picture


def sixteen_bits() -> Image.Image:
    """Everything above 255 would be white, were it clipped."""
    values = np.where(np.asarray(drawing(ground="black", ink="white")) > 0, 50_000, 2_000)
    return Image.fromarray(values.astype(np.uint16))


PICTURES = {
    "colour.png": lambda: drawing("RGB", ground="#ddeeff", ink="darkred"),
    "bits.png": lambda: drawing("1", ground=1, ink=0),
    "grey-alpha.png": lambda: transparent("black").convert("LA"),
    "palette.png": palette,
    "palette-transparent.png": transparent_palette,
    "palette.gif": palette,
    "sixteen.png": sixteen_bits,
    "sixteen.tif": sixteen_bits,
    "cmyk.jpg": lambda: drawing("RGB", ink="navy").convert("CMYK"),
    "cmyk.tif": lambda: drawing("RGB", ink="navy").convert("CMYK"),
    "photo.jpg": lambda: drawing("RGB", ink="navy"),
    "photo.JPEG": lambda: drawing("L"),
    "photo.webp": lambda: drawing("RGB", ink="navy"),
    "photo.bmp": lambda: drawing("RGB", ink="navy"),
    "large.jpg": lambda: drawing("RGB", (4000, 3000), ink="navy"),
    "large.png": lambda: drawing("L", (4000, 3000)),
    "narrow.png": lambda: drawing("L", (600, 40)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_kind_of_picture_gives_the_same_answer(model: Path, tmp_path: Path, name: str) -> None:
    picture = PICTURES[name]()
    found = only(predict(model, [written(tmp_path / name, picture)]))
    assert (found.class_name, found.original_size) == ("top left", picture.size)


def test_of_an_animation_the_first_frame_counts(model: Path, tmp_path: Path) -> None:
    frames = [drawing("RGB").rotate(angle) for angle in (0, 90, 180)]
    for suffix in ("gif", "webp", "png", "tif"):
        path = written(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
        assert only(predict(model, [path])).class_name == "top left", suffix


def test_single_pixel_and_empty_sheet_have_an_answer(model: Path, tmp_path: Path) -> None:
    for size in ((1, 1), (1, 500), (300, 300)):
        found = only(predict(model, [written(tmp_path / "a.png", Image.new("L", size, 255))]))
        assert (found.inverted, found.original_size) == (True, size)


def test_colour_model_gets_colours_that_are_never_inverted(colour_model: Path, tmp_path: Path) -> None:
    paths = [
        written(tmp_path / "a.png", drawing("RGB", ground="navy", ink="yellow")),
        written(tmp_path / "b.png", drawing("L", ground="black", ink="white")),
        written(tmp_path / "c.png", drawing("RGB", ground="white", ink="navy")),
        written(tmp_path / "d.png", sixteen_bits()),
    ]
    found = predict(colour_model, paths)
    assert [each.class_name == "top left" for each in found] == [True, True, False, True]
    assert not any(each.inverted for each in found)


# --- the way to the model


def pixels_seen_by(model: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch, **options) -> np.ndarray:
    """What the model is given: uint8 (n, height, width)."""
    from fmnist.predict.classifier import Classifier

    seen: list[np.ndarray] = []

    def look(self: Classifier, images: list[np.ndarray]) -> np.ndarray:
        seen.extend(images)
        return np.full((len(images), 4), 0.25)

    monkeypatch.setattr(Classifier, "probabilities", look)
    assert all(each.error is None for each in predict(model, paths, **options))
    return np.stack(seen)[..., 0]


@pytest.fixture
def training_like() -> np.ndarray:
    """uint8 (20, 16, 16): of every value, on black, some touching the border."""
    generator = np.random.default_rng(0)
    images = np.zeros((20, SIDE, SIDE), np.uint8)
    for image in images:
        left, right = sorted(generator.choice(SIDE + 1, 2, replace=False))
        image[2:14, left:right] = generator.integers(0, 256, (12, right - left))
    return images


def test_image_of_the_models_size_on_black_is_taken_bit_for_bit(
    model: Path, tmp_path: Path, training_like: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [written(tmp_path / f"{i}.png", Image.fromarray(image)) for i, image in enumerate(training_like)]
    paths += [
        written(tmp_path / f"{i}.bmp", Image.fromarray(image).convert("RGB")) for i, image in enumerate(training_like)
    ]
    paths += [
        written(tmp_path / f"{i}.tif", Image.fromarray(image * np.uint16(257))) for i, image in enumerate(training_like)
    ]
    seen = pixels_seen_by(model, paths, monkeypatch)
    assert (seen == np.concatenate([training_like] * 3)).all()


def test_image_of_the_models_size_on_white_is_inverted_and_nothing_else(
    model: Path, tmp_path: Path, training_like: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [written(tmp_path / f"{i}.png", Image.fromarray(255 - image)) for i, image in enumerate(training_like)]
    assert (pixels_seen_by(model, paths, monkeypatch) == training_like).all()
    kept = pixels_seen_by(model, paths, monkeypatch, invert=False)
    assert (kept[-20:] == 255 - training_like).all()


def test_twelve_bits_are_scaled_too(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(white_tiff_of_12_bits(SIDE))
    assert set(pixels_seen_by(model, [path], monkeypatch, invert=False).ravel()) == {255}


def test_thing_is_centred_fills_the_frame_and_has_full_contrast_on_a_black_ground(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.new("L", (400, 300), 210)
    ImageDraw.Draw(picture).rectangle((20, 200, 219, 299), fill=90)
    (seen,) = pixels_seen_by(model, [written(tmp_path / "a.jpg", picture, quality=90)], monkeypatch)
    lit = seen > 200
    assert lit.any(axis=0).all() and np.flatnonzero(lit.any(axis=1)).tolist() == list(range(4, 12))
    assert seen.max() == 255 and seen[:3].max() == seen[13:].max() == 0


def test_thing_takes_up_as_much_of_the_frame_as_those_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = save(
        quadrant_model(), tmp_path / "m.keras", ModelMetadata(QUADRANTS, (SIDE, SIDE, 1), 0.0, object_share=0.5)
    )
    (seen,) = pixels_seen_by(smaller, [written(tmp_path / "a.png", drawing(size=(300, 300)))], monkeypatch)
    assert np.flatnonzero(seen.any(axis=0)).tolist() == list(range(4, 12))


def test_dust_noise_and_uneven_light_do_not_hide_the_thing(model: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values = np.asarray(drawing(size=(900, 700)), float) * np.linspace(0.7, 0.9, 900)
    values += generator.normal(0, 6, values.shape)
    picture = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    assert only(predict(model, [written(tmp_path / "a.jpg", picture)])).class_name == "top left"


# --- what cannot be read


def test_broken_files_are_named_with_their_reasons_and_the_others_go_on(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = written(tmp_path / "whole.jpg", drawing("RGB", (500, 400)))
    reasons = {"missing.png": "No such file", "empty.png": "empty", "text.png": "not a picture that can be read"}
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tif"):
        cut = tmp_path / f"cut.{suffix}"
        options = {"compression": "tiff_lzw"} if suffix == "tif" else {}  # libtiff itself speaks of the damage
        written(cut, Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 60), np.uint8)), **options)
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
        reasons[cut.name] = ""
    code = main([str(model), str(whole), *(str(tmp_path / name) for name in reasons), str(whole)])
    output = capfd.readouterr()
    assert code == 1
    assert output.out.count("top left") == 2 and output.out.count("\n") == 2
    for line, (name, reason) in zip(output.err.splitlines(), reasons.items(), strict=True):
        assert line.startswith(f"error: {tmp_path / name}: ") and reason in line


def test_file_without_permission_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", drawing())
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # permissions do not bind the superuser
        os.seteuid(65534)
    try:
        with pytest.raises(UnreadablePicture, match=r"^Permission denied$"):
            read_content(str(path))
    finally:
        os.seteuid(user)


def png_that_claims(width: int, height: int) -> bytes:
    """Its header says so; there is nothing behind it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
        + bytes(4)
        + b"IDAT"
    )


def test_more_pixels_than_the_limit_are_refused_unread(model: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{height}.png" for height in (5_001, 10_000, 2**31 - 1)]
    for path in paths:
        path.write_bytes(png_that_claims(20_000, int(path.stem)))
    for found in predict(model, paths):
        assert found.error == f"refused: more than {MAX_PIXELS:,} pixels, which could fill the memory"


def test_pixels_of_unknown_scale_are_refused(model: Path, tmp_path: Path) -> None:
    integers = written(tmp_path / "i.tif", Image.new("I", (30, 20), 70_000))
    decimals = written(tmp_path / "f.tif", Image.new("F", (30, 20)))
    errors = [each.error or "" for each in predict(model, [integers, decimals])]
    assert "beyond the 65,535 of 16 bits" in errors[0] and "decimal numbers" in errors[1]


def test_name_with_a_line_break_stays_one_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"a\nb\x1b[31m\xff.png")
    path = written(tmp_path / "x.png", drawing()).rename(tmp_path / name)
    assert main([str(model), str(path), f"{path}.png"]) == 1
    output = capsys.readouterr()
    assert "a\\nb\\x1b[31m\\udcff.png  " in output.out and output.out.count("\n") == output.err.count("\n") == 1
    assert main([str(model), str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(path)


# --- folders and standard input


def test_folder_is_searched_in_order_and_says_what_it_skips(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("b.png", "a/z.JPG", "a/sub/c.webp", "c.gif", ".hidden/x.png", "._b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        written(folder / name, drawing("RGB"))
    (folder / "notes.txt").write_text("text")
    (folder / "d.png").write_text("text")
    (folder / "e.png").symlink_to("nowhere.png")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    said: list[str] = []
    found = predict(model, [folder], say=said.append)
    names = [Path(each.path).relative_to(folder).as_posix() for each in found]
    assert names == ["a/sub/c.webp", "a/z.JPG", "b.png", "c.gif", "d.png", "e.png"]
    assert [each.error is None for each in found] == [True] * 4 + [False] * 2
    assert said == [f"{folder}: skipped 5 that are no picture file: ._b.png, .hidden, loop and 2 more"]


def test_folder_without_pictures_is_an_error(model: Path, tmp_path: Path) -> None:
    (found,) = predict(model, tmp_path)
    assert (found.path, found.error) == (str(tmp_path), "no picture in this folder")


def give_on_stdin(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_picture_may_come_from_standard_input(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = written(tmp_path / "a.png", drawing()).read_bytes()
    give_on_stdin(content, monkeypatch)
    found = only(predict(model, ["-"]))
    assert (found.path, found.class_name) == ("-", "top left")
    give_on_stdin(b"", monkeypatch)
    assert predict(model, ["-"])[0].error == "the file is empty"
    with pytest.raises(UserError, match=r"standard input holds one picture, but - was named more than once"):
        predict(model, ["-", "-"])


def test_picture_may_come_through_a_pipe(model: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, written(tmp_path / "a.png", drawing()).read_bytes())
    os.close(writing)
    assert only(predict(model, [f"/dev/fd/{reading}"])).class_name == "top left"
    os.close(reading)


def test_many_pictures_pass_in_batches_and_keep_their_order(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist.predict.classifier.N_BATCH", 3)
    turns = [0, 90, 180, 270, 0, 90, 180]
    paths = [written(tmp_path / f"{i}.png", drawing().rotate(turn, expand=True)) for i, turn in enumerate(turns)]
    paths.insert(3, tmp_path / "missing.png")
    names = [each.class_name for each in predict(model, paths)]
    assert names == [
        "top left",
        "bottom left",
        "bottom right",
        None,
        "top right",
        "top left",
        "bottom left",
        "bottom right",
    ]


# --- the command


def test_lines_are_aligned_name_runners_up_and_what_was_inverted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("shirt.png"), drawing())
    written(Path("a-shoe.png"), drawing(ground="black", ink="white").rotate(180, expand=True))
    assert main([str(model), "shirt.png", "a-shoe.png"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"shirt\.png   top left      1?\d\d\.\d%  [a-z ]+ \d%, [a-z ]+ \d% +inverted", first)
    assert re.fullmatch(r"a-shoe\.png  bottom right  1?\d\d\.\d%  [a-z ]+ \d%, [a-z ]+ \d%", second)
    assert first.index("%") == second.index("%") and max(len(first), len(second)) <= 80


def test_on_a_terminal_long_paths_are_cut_at_their_front(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "shirt.png", drawing())
    monkeypatch.setattr("fmnist.predict.__main__.terminal_width", lambda: 80)
    assert main([str(model), str(path)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert len(line) == 80 and line.startswith("…") and "/shirt.png  top left" in line


def test_json_has_a_line_for_each_picture_failed_ones_too(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.png", drawing())
    assert main([str(model), str(path), "missing.png", "--json", "--top", "9"]) == 1
    output = capsys.readouterr()
    good, bad = map(json.loads, output.out.splitlines())
    assert good["class"] == "top left" == good["top"][0]["class"]
    assert good["probability"] == good["top"][0]["probability"] and len(good["top"]) == 4
    assert sum(one["probability"] for one in good["top"]) == pytest.approx(1)
    assert (good["inverted"], good["fitted"], good["width"], good["height"]) == (True, True, 90, 60)
    assert (bad["path"], bad["class"], bad["top"]) == ("missing.png", None, [])
    assert bad["error"] == "No such file or directory"
    assert good.keys() == bad.keys()


def test_temperature_calibrates_by_number_or_by_file(model: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", drawing())
    note = tmp_path / "temperature.json"
    note.write_text(json.dumps({"temperature": 2.5, "how": "..."}))
    plain, by_number, by_file = (predict(model, path, temperature=given, top=4) for given in (None, 2.5, note))
    assert by_number == by_file
    probabilities = np.array([[one.probability for one in plain[0].top]])
    expected = with_temperature(probabilities, 2.5)[0].tolist()
    assert [one.probability for one in by_file[0].top] == pytest.approx(expected)


def test_temperature_beside_the_model_is_not_taken_unasked(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "best.keras"
    copy.write_bytes(model.read_bytes())
    (tmp_path / "temperature.json").write_text('{"temperature": 9}')
    path = written(tmp_path / "a.png", drawing())
    assert predict(copy, path) == predict(model, path)


@pytest.fixture(scope="module")
def bad_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bad")
    inputs = keras.Input((SIDE, SIDE, 1))
    flat = keras.layers.Flatten()(inputs)
    vector = keras.Input((7,))
    dense = keras.layers.Dense
    models = {
        "vector": keras.Model(vector, dense(2, "softmax")(vector)),
        "one": keras.Model(inputs, dense(1, "sigmoid")(flat)),
        "picture": keras.Model(inputs, inputs * 2),
        "two": keras.Model([inputs, vector], dense(2, "softmax")(keras.layers.Concatenate()([flat, vector]))),
        "logits": keras.Model(inputs, dense(3, bias_initializer="ones")(flat)),
        "wide": quadrant_model(2),
    }
    paths = {name: save(each, folder / f"{name}.keras", None) for name, each in models.items()}
    paths["mismatch"] = save(quadrant_model(), folder / "mismatch.keras", ModelMetadata(("a", "b"), (8, 8, 1), 0.0))
    paths["text"] = folder / "text.keras"
    paths["text"].write_text("not a model")
    paths["archive"] = folder / "archive.keras"
    with zipfile.ZipFile(paths["archive"], "w") as archive:
        archive.writestr("a.txt", "text")
    paths["damaged"] = folder / "damaged.keras"
    with zipfile.ZipFile(paths["damaged"], "w") as archive:
        archive.writestr("config.json", "{}")
    paths["suffix"] = paths["one"].with_suffix(".zip")
    paths["suffix"].write_bytes(paths["one"].read_bytes())
    return {**paths, "missing": folder / "missing.keras", "folder": folder}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", r"must be a \.keras file, but .*missing\.keras: No such file"),
        ("folder", r"must be a \.keras file, but .* is a folder"),
        ("text", r"must be a \.keras file, but .* is none, or damaged"),
        ("archive", r"must be a \.keras file, but .* is another archive"),
        ("suffix", r"must be a \.keras file, but got .*one\.zip; rename it"),
        ("damaged", r"must load with plain Keras [\d.]+, but .* does not"),
        ("vector", r"must take one batch of images of a fixed size.*takes \(None, 7\)"),
        ("wide", r"must take one batch of images of a fixed size.*takes \(None, 16, 16, 2\)"),
        ("two", r"must take one batch of images of a fixed size.*takes \(None, 16, 16, 1\) and \(None, 7\)"),
        ("one", r"one probability for each of two or more classes, but .* gives \(None, 1\)"),
        ("picture", r"one probability for each of two or more classes, but .* gives \(None, 16, 16, 1\)"),
        ("logits", r"must give probabilities that sum to 1, but .* end it with a softmax"),
        ("mismatch", r"notes must fit it, but those in .* 2 classes of images \(8, 8, 1\), and the model has 4"),
    ],
)
def test_model_that_cannot_be_used_is_refused_in_one_line(
    bad_models: dict[str, Path], tmp_path: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.png", drawing())
    code = main([str(bad_models[name]), str(path)])
    *notes, error = capsys.readouterr().err.splitlines()
    assert code == 2 and error.startswith("error: ")
    assert all(note.startswith("note: ") and "no notes" in note for note in notes)
    with pytest.raises(UserError, match=message):
        predict(bad_models[name], path, say=lambda text: None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required"),
        (["a.png", "--top", "0"], "--top must be 1 or more, but got 0"),
        (["a.png", "--top", "x"], "argument --top: invalid int value: 'x'"),
        (["a.png", "--temperature", "0"], "--temperature must be from 0.01 to 100, but got 0"),
        (["a.png", "--temperature", "nan"], "--temperature must be from 0.01 to 100, but got nan"),
        (["a.png", "--temperature", "none.json"], "got none.json: No such file or directory"),
        (["a.png", "--temperature", __file__], "takes a JSON file with a number"),
        (["a.png", "--invert"], "unrecognized arguments"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_in_one_line(
    model: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(model), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


def test_model_without_notes_names_classes_by_number_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = save(quadrant_model(), tmp_path / "bare.keras", None)
    path = written(tmp_path / "a.png", drawing())
    assert main([str(bare), str(path), str(path)]) == 0
    output = capsys.readouterr()
    assert [line.split()[1] for line in output.out.splitlines()] == ["0", "0"]
    (line,) = output.err.splitlines()
    assert line.startswith(f"note: {bare} has no notes: its classes are shown by their numbers")


def test_grey_model_without_an_axis_for_it_works_too(tmp_path: Path) -> None:
    inputs = keras.Input((SIDE, SIDE))
    outputs = quadrant_model()(keras.layers.Reshape((SIDE, SIDE, 1))(inputs))
    path = save(keras.Model(inputs, outputs), tmp_path / "m.keras", NOTES)
    assert only(predict(path, written(tmp_path / "a.png", drawing()))).class_name == "top left"


def test_command_keeps_standard_error_for_its_own_words(model: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "a.png", drawing())
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "fmnist.predict", str(model), str(path), "-", "--json"]
    child = subprocess.run(
        command, cwd=ROOT, env=environment, input=path.read_bytes(), capture_output=True, check=False
    )
    assert (child.returncode, child.stderr) == (0, b"")
    assert [json.loads(line)["class"] for line in child.stdout.splitlines()] == ["top left"] * 2


def test_command_stops_without_a_trace_when_nobody_reads_its_output(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.png", drawing())
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        assert main([str(model), str(path)]) == 1
    assert capsys.readouterr().err == ""


def test_keras_is_not_loaded_for_help_or_for_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_text("no model")
    script = (
        "import contextlib, io, sys; from fmnist.predict.__main__ import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main(['--help'])\n"
        f"code = main([{str(tmp_path / 'a.keras')!r}, 'a.png'])\n"
        "print(code, sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.stdout == "2 []\n", child.stderr


# --- what the README says


def readme() -> str:
    """Its section on pictures."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.partition("## What do pictures show?")[2].partition("\n## ")[0]


@pytest.fixture
def readers_folder(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader of the README stands: a study, photo.jpg and the folder wardrobe."""
    study = tmp_path / "studies" / "fashion-mnist"
    study.mkdir(parents=True)
    (study / "best.keras").write_bytes(model.read_bytes())
    (study / "temperature.json").write_text('{"temperature": 0.9}')
    (tmp_path / "wardrobe").mkdir()
    written(tmp_path / "photo.jpg", drawing())
    written(tmp_path / "wardrobe" / "boot.png", drawing(ground="black", ink="white"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_of_the_readme_run(
    readers_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = re.findall(r"^    python -m fmnist\.predict (.*)$", readme(), re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        arguments, _, given = command.partition(" < ")
        if given:
            give_on_stdin(Path(given).read_bytes(), monkeypatch)
        assert main(shlex.split(arguments)) == 0
        output = capsys.readouterr()
        assert output.out.count("top left") >= 1 and output.err == ""


def test_python_of_the_readme_runs(readers_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^    from fmnist\.predict import predict\n\n(?:    .*\n)+", readme(), re.MULTILINE)
    exec(textwrap.dedent(code), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("photo.jpg top left 9") or first.startswith("photo.jpg top left 100%")
    assert second.startswith(f"wardrobe{os.sep}boot.png top left ")
