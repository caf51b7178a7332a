"""What do all commands of the search check first? The study's name, and that no password stands on a command line."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
import urllib.parse

from fmnist.errors import UserError

LONGEST_NAME = 64  # characters of a study's name
LEGAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WINDOWS_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}


def take_password_off_the_command_line() -> None:
    """Start the process again without the password of a PostgreSQL URL, if its command line holds one.

    Everyone on a machine can read command lines (ps). The password goes on in $PGPASSWORD, which only the owner of the
    process can read.
    """
    for i, word in enumerate(sys.orig_argv):
        url, password = without_password(word)
        if password is not None:
            os.environ["PGPASSWORD"] = password
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:i], url, *sys.orig_argv[i + 1 :]])


def without_password(word: str) -> tuple[str, str | None]:
    """Split the password off a word of the command line.

    Args:
        word: A PostgreSQL URL, `--storage=` and such a URL, or anything else.

    Returns:
        The word without the password, and the password; the word as it is and None where it has none.
    """
    option, url = "", word
    if word.startswith("--storage="):
        option, url = "--storage=", word.removeprefix("--storage=")
    if not url.startswith("postgresql"):
        return word, None
    parts = urllib.parse.urlsplit(url)
    user, colon, password = parts.netloc.rpartition("@")[0].partition(":")
    if not colon:
        return word, None
    host = parts.netloc.rpartition("@")[2]
    return option + parts._replace(netloc=f"{user}@{host}").geturl(), urllib.parse.unquote(password)


def shown_url(url: str) -> str:
    """Hide the password of a storage's URL, for messages. Any text will do: a mistyped URL has a password too."""
    if url.startswith("sqlite"):
        return url
    start = url.find("://") + 3 if "://" in url else 0
    rest = re.sub(r":.*@", ":***@", url[start:])
    return url[:start] + re.sub(r"(password|passwd|pwd)=[^&]*", r"\1=***", rest, flags=re.IGNORECASE)


def legal_study_name(text: str) -> str:
    """Derive a study's name from any text, such as the name of a data folder or of a script.

    Letters lose their accents, whatever else cannot be in a name becomes a `-`, and names that Windows keeps to itself
    get an end. A text that is a name already stays as it is, unless Windows keeps it.
    """
    name = text
    if not LEGAL_NAME.fullmatch(text):
        decomposed = unicodedata.normalize("NFKD", text)
        plain = "".join(character for character in decomposed if not unicodedata.combining(character))
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:LONGEST_NAME].rstrip("-._") or "study"
    if name.partition(".")[0].upper() in WINDOWS_DEVICES:
        name = f"study-{name}"[:LONGEST_NAME]
    return name


def check_study_name(name: str, remedy: str) -> None:
    """Raise UserError for a name that cannot be a study's: it is a folder's name, and part of URLs and file names.

    Args:
        name: As given.
        remedy: What to do about it, the end of the message.
    """
    if not LEGAL_NAME.fullmatch(name):
        raise UserError(
            f"the study's name must be 1 to {LONGEST_NAME} letters, digits, '.', '_' or '-', starting with a letter or "
            f"digit, but got {name!r}; {remedy}"
        )
