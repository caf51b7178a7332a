"""Of which pieces is what a notebook shows? HTML that looks at home in a light and in a dark one. All text is escaped.

Notebooks differ in what they keep of a style: JupyterLab, VS Code and Colab, in light and dark, and GitHub, which keeps
none. So colours are the notebook's own, styles stand at the elements, and without any of them plain tables remain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

OUTPUT = "max-width:72em;line-height:1.5;font-variant-numeric:tabular-nums"
PARAGRAPH = "margin:.3em 0;white-space:pre-wrap;overflow-wrap:anywhere"
TABLE = "border-collapse:collapse;border:none;margin:.5em 0"
CELL = "text-align:left;vertical-align:top;padding:.15em 1.2em .15em 0;border:none;background:none"
QUIET = "opacity:.75"
MONOSPACE = (
    "font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace);font-size:.92em;"
    "background:none;color:inherit;padding:0;border:none"
)
TRACK = "max-width:40em;height:.4em;border-radius:.2em;background:rgba(128,128,128,.3);margin:.4em 0;overflow:hidden"
BAR = "height:100%;background:#2f81c4"


def output(parts: Iterable[Markup]) -> str:
    """Join the parts of an output."""
    return str(Markup('<div style="{}">{}</div>').format(OUTPUT, Markup("").join(parts)))


def paragraph(text: str, *, is_quiet: bool = False) -> Markup:
    """A paragraph, which keeps the line breaks of its text. is_quiet: it is not what the reader looks for."""
    return Markup('<p style="{}">{}</p>').format(f"{PARAGRAPH};{QUIET}" if is_quiet else PARAGRAPH, text)


def table(rows: Iterable[Sequence[str]], heads: Sequence[str] = ()) -> Markup:
    """A table; a wide one scrolls. Without heads, the first cell of each row is its head."""
    lines = []
    if heads:
        cells = [_head(head, "col") for head in heads]
        lines.append(Markup('<tr style="background:none">{}</tr>').format(Markup("").join(cells)))
    for first, *others in rows:
        cells = [_cell(first) if heads else _head(first, "row"), *map(_cell, others)]
        lines.append(Markup('<tr style="background:none">{}</tr>').format(Markup("").join(cells)))
    return Markup('<div style="overflow-x:auto"><table style="{}">{}</table></div>').format(
        TABLE, Markup("").join(lines)
    )


def _head(text: str, scope: str) -> Markup:
    style = f"{CELL};{QUIET};font-weight:normal;white-space:nowrap"
    return Markup('<th scope="{}" style="{}">{}</th>').format(scope, style, text)


def _cell(text: str) -> Markup:
    return Markup('<td style="{};white-space:nowrap">{}</td>').format(CELL, text)


def progress_bar(share: float) -> Markup:
    """A bar. share: of the whole that is done, from 0 to 1."""
    track = Markup('<div role="progressbar" aria-label="done" aria-valuenow="{0}" style="{1}">{2}</div>')
    bar = Markup('<div style="{};width:{:.1f}%"></div>').format(BAR, 100 * share)
    return track.format(round(100 * share), TRACK, bar)


def preformatted(lines: Iterable[str]) -> Markup:
    """Lines as they stand; wide ones scroll."""
    style = f"{MONOSPACE};{QUIET};line-height:1.4;overflow-x:auto;margin:.5em 0"
    return Markup('<pre style="{}">{}</pre>').format(style, "\n".join(lines))


def code(text: str) -> Markup:
    """A path, a command or a network's short form."""
    return Markup('<code style="{}">{}</code>').format(MONOSPACE, text)
