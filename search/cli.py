"""No password where everyone on the machine can read it: on a command line."""

from __future__ import annotations

import os
import re
import sys
import urllib.parse

from fmnist.errors import UserError


def take_password_off_the_command_line() -> None:
    """Everyone on a machine can read command lines (ps). Start again without the password, which goes on in
    $PGPASSWORD: that is the owner's to read alone."""
    for i, word in enumerate(sys.orig_argv):
        url, password = without_password(word)
        if password is not None:
            os.environ["PGPASSWORD"] = password
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:i], url, *sys.orig_argv[i + 1 :]])


def without_password(word: str) -> tuple[str, str | None]:
    """A word of the command line that holds a PostgreSQL address, without its password, and that. None: it has none."""
    option, equals, url = word.partition("=") if word.startswith("--storage=") else ("", "", word)
    if not url.startswith("postgresql"):
        return word, None
    parts = urllib.parse.urlsplit(url)
    user, colon, password = parts.netloc.rpartition("@")[0].partition(":")
    if not colon:
        return word, None
    host = parts.netloc.rpartition("@")[2]
    return option + equals + parts._replace(netloc=f"{user}@{host}").geturl(), urllib.parse.unquote(password)


def check_study_name(name: str, remedy: str) -> None:
    """It is a folder's name too. Raises UserError, with the remedy."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise UserError(
            "the study's name must be 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit, "
            f"but got {name!r}; {remedy}"
        )
