"""Names that files may have, and those that trip programs up."""

from __future__ import annotations

import os

from hypothesis import strategies as st

LEGAL_NAMES = (  # of a file: any bytes but / and NUL
    st.binary(min_size=1, max_size=60)
    .filter(lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b".."))
    .map(os.fsdecode)
)
NASTY_NAMES = (
    *("a?b.c=1&d", "100%", "%41", "a#b", "a+b@c:d;e=f", "*", "[x]", "{0}", "{SCHEMA_VERSION}", "$HOME", "~", "-rf"),
    *("'", '"', "`", "\\", "a\nb", "a\rb", "a\tb", " a ", "...", "con", "123", ":memory:", "s3:", "file:x?mode=ro"),
    *("😀", "caf\u00e9", "cafe\u0301", "x" * 200, "<b>&amp;", "| ``` |"),
)
