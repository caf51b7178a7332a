"""In which fonts are the names of classes written? The usual one lacks Chinese, Japanese, Korean, Hindi and others.

For what it lacks, the fonts on the machine are tried. A font installed a moment ago is found, too.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fmnist.errors import first_few
from fmnist.output import printable
from search.report.charts.plain import findSystemFonts, ft2font, usual_font

TRIED_POINTS = 12  # size at which a glyph has to be drawable: fonts of coloured bitmaps are not
INVISIBLE = ("Cf", "Zs")  # Unicode's categories of characters that need no glyph: joiners, spaces
JOINED = ("Mn", "Mc", "Me", "Cf")  # that belong to the character before: accents, vowel signs, joiners
LAST_RESORT = "Last Resort"  # draws a box for every character


@dataclass(frozen=True)
class Fonts:
    """What some names are written in."""

    paths: tuple[str, ...] = ()  # of fonts beside the usual one; each has characters that those before it lack
    incomplete: tuple[str, ...] = ()  # names with characters that no font on the machine has: pictures show boxes

    def note(self) -> str | None:
        """Say which classes' names cannot be written, and what to do about it; None if all can."""
        if not self.incomplete:
            return None
        return (
            f"no font on this machine has all letters of the class names {first_few(self.incomplete)}, so pictures "
            "show boxes for some (text in the report is right); install a font for their script, such as Noto Sans CJK "
            "for Chinese, Japanese and Korean, then write the report again with python -m search.report NAME"
        )


def fonts_for(names: Iterable[str], find: Callable[[], Sequence[str]] = findSystemFonts) -> Fonts:
    """Choose fonts for names, of which one lacks nothing that another one on the machine has.

    Args:
        names: Of classes, as the data have them.
        find: Returns the paths of the fonts to choose from, by default those on the machine as they are now.
    """
    wanted = {name: frozenset(filter(_is_wanted, printable(name))) for name in names}
    characters = frozenset().union(*wanted.values())
    if not characters:
        return Fonts()
    paths, missing = _choose(characters, tuple(sorted(find())))
    return Fonts(paths, tuple(name for name in wanted if wanted[name] & missing))


def _is_wanted(character: str) -> bool:
    """Whether a character needs a glyph that the usual font lacks."""
    return unicodedata.category(character) not in INVISIBLE and not has_glyph(usual_font(), character)


@functools.lru_cache(maxsize=8)  # a report asks for each of its pictures
def _choose(wanted: frozenset[str], paths: Sequence[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Choose as few of the fonts as have all characters; return also the characters that none has."""
    covers = {path: covered for path in paths if (covered := _covered(path, wanted))}
    chosen: list[str] = []
    while any(covered & wanted for covered in covers.values()):
        best = max(covers, key=lambda path: (len(covers[path] & wanted), _is_upright(path)))
        chosen.append(best)
        wanted -= covers[best]
    return tuple(chosen), wanted


def _covered(path: str, wanted: frozenset[str]) -> frozenset[str]:
    """The characters that a font can draw; none of one that cannot be read."""
    try:
        font = ft2font.FT2Font(path)
        if font.family_name.startswith(LAST_RESORT):
            return frozenset()
        found = frozenset(character for character in wanted if font.get_char_index(ord(character)))
        if found:
            font.set_size(TRIED_POINTS, 72)
            font.load_char(ord(min(found)))
    except (RuntimeError, OSError, ValueError):  # FreeType's: damaged, of bitmaps, of an unknown kind
        return frozenset()
    return found


def _is_upright(path: str) -> bool:
    """Whether a font is neither bold nor italic."""
    return ft2font.FT2Font(path).style_flags == ft2font.StyleFlags.NORMAL


@functools.lru_cache(maxsize=16)
def _opened(path: str) -> ft2font.FT2Font:
    return ft2font.FT2Font(path)


def has_glyph(path: str, character: str) -> bool:
    """Tell whether a font has a character."""
    return _opened(path).get_char_index(ord(character)) != 0


def split_by_font(text: str, paths: Sequence[str]) -> list[tuple[str, str]]:
    """Split text into parts of one font each, the first that has the character; accents stay with their letters.

    Args:
        text: To be written.
        paths: Of fonts; the first is also for what none has.

    Returns:
        Each part with the path of its font.
    """
    parts: list[tuple[str, str]] = []
    for character in text:
        path = next((path for path in paths if has_glyph(path, character)), paths[0])
        if parts and (parts[-1][1] == path or unicodedata.category(character) in (*JOINED, "Zs")):
            parts[-1] = (parts[-1][0] + character, parts[-1][1])
        else:
            parts.append((character, path))
    return parts
