"""Names of classes in any script are written in a font that has their letters, or their lack is told once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from search.report.charts.fonts import Fonts, fonts_for, split_by_font
from search.report.charts.images import Lettering, rows_png, sheet_png
from search.report.charts.model import confusion_figure
from search.report.charts.plain import drawing, usual_font
from search.report.charts.style import figure_png, figure_svg, fitting


def font(folder: Path, name: str, characters: str) -> str:
    """A font whose letters are all squares."""
    characters = "".join(sorted(set(characters)))
    pen = TTGlyphPen(None)
    for x, y in ((100, 0), (100, 800), (900, 800), (900, 0)):
        (pen.moveTo if (x, y) == (100, 0) else pen.lineTo)((x, y))
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"uni{ord(character):04X}" for character in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(character): f"uni{ord(character):04X}" for character in characters})
    builder.setupGlyf({name: square for name in names})
    builder.setupHorizontalMetrics({name: (1000, 100) for name in names})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular", "psName": name.replace(" ", "")})
    builder.setupOS2()
    builder.setupPost()
    path = folder / f"{name}.ttf"
    builder.save(path)
    return str(path)


def nothing() -> Sequence[str]:
    raise AssertionError("no font is looked for")


@pytest.mark.parametrize(
    "name", ["T-shirt/top", "été", "кошка", "γάτα", "قطة", "חתול", "a\u3000b", "a\u200db", "red\x1b[31m", "two\nlines"]
)
def test_names_that_the_usual_font_has_need_no_other(name: str) -> None:
    assert fonts_for([name], nothing) == Fonts()


def test_fewest_fonts_are_chosen_that_have_all_characters(tmp_path: Path) -> None:
    some, han = font(tmp_path, "Some Han", "猫"), font(tmp_path, "Test Han", "猫犬")
    devanagari = font(tmp_path, "Test Devanagari", "कुत्ता")
    found = fonts_for(["猫", "犬", "कुत्ता", "cat"], lambda: [some, han, devanagari])
    assert found == Fonts((devanagari, han)) and found.note() is None


def test_characters_that_no_font_has_are_told_in_one_note_until_one_is_installed(tmp_path: Path) -> None:
    installed: list[str] = []
    names = ["猫", "犬", "鳥", "cat"]
    note = fonts_for(names, lambda: list(installed)).note()
    assert note is not None and "class names 猫, 犬, 鳥, so" in note and "python -m search.report" in note
    installed.append(font(tmp_path, "Test Han", "猫犬鳥"))  # the remedy
    assert fonts_for(names, lambda: list(installed)).note() is None


@pytest.mark.parametrize("content", [b"", b"no font", b"\0\1\0\0" * 9], ids=["empty", "text", "cut"])
def test_damaged_font_is_passed_over(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.ttf").write_bytes(content)
    good = font(tmp_path, "Test Han", "猫")
    assert fonts_for(["猫"], lambda: [str(tmp_path / "bad.ttf"), str(tmp_path / "gone.ttf"), good]).paths == (good,)


def test_matrix_is_lettered_in_the_font_that_has_the_glyphs(tmp_path: Path) -> None:
    found = fonts_for(["猫", "cat"], lambda: [font(tmp_path, "Test Han", "猫")])
    with drawing(found.paths):
        svg = figure_svg(confusion_figure(np.eye(2, dtype=int), ["猫", "cat"]))
    assert b"TestHan" in svg and b"DejaVuSans" in svg


@pytest.mark.process  # the system is asked for its fonts
def test_missing_glyphs_are_boxes_without_a_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure_png(confusion_figure(np.eye(2, dtype=int), ["猫", "कुत्ता"]))
        rows_png([("猫", np.zeros((1, 8, 8, 1), np.uint8))])
    assert caught == []


HOSTILE = [
    *("$x$", "$\\frac", "a_b^c", "\\alpha", "{", "50 %", "<b>&amp;", "\x1b[31mred", "two\nlines", "\0"),
    *("", " ", "x" * 255, "猫" * 85, "قطة", "👩\u200d🌾", "\u202egnp", "e\u0301", "\udcff", "#tag"),
]


@pytest.mark.process  # the system is asked for its fonts
def test_no_name_breaks_a_picture_or_is_taken_for_a_formula() -> None:
    figure = confusion_figure(np.eye(len(HOSTILE), dtype=int), HOSTILE)
    figure_png(figure)
    with drawing():
        shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown[:7] == ["\\$x\\$", "\\$\\frac", "a_b^c", "\\alpha", "{", "50 %", "<b>&amp;"]
    assert shown[7:10] == [r"\x1b[31mred", r"two\nlines", r"\x00"]
    image = np.zeros((8, 8, 1), np.uint8)
    assert rows_png([(name, image[None]) for name in HOSTILE])
    assert sheet_png([(image, (f"is {name}", f"not {name}")) for name in HOSTILE], 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("short", "short"),
        ("x" * 30, "x" * 23 + "…"),
        ("猫" * 12, "猫" * 12),
        ("猫" * 13, "猫" * 11 + "…"),
        ("$5", r"\$5"),
        ("\x07", r"\x07"),
    ],
)
def test_name_is_cut_to_the_room_there_is(name: str, expected: str) -> None:
    assert fitting(name) == expected


def test_each_part_of_a_caption_has_the_first_font_with_its_letters(tmp_path: Path) -> None:
    han, usual = font(tmp_path, "Test Han", "猫犬"), usual_font()
    assert split_by_font("is 猫 犬, not e\u0301", (usual, han)) == [
        ("is ", usual),
        ("猫 犬", han),
        (", not e\u0301", usual),
    ]
    lettering = Lettering.of(["猫"], 14, lambda: [han])
    assert lettering.length("猫") == 14 and lettering.cut("猫犬" * 9, 45) == "猫犬…"
