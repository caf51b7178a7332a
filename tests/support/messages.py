"""Claims about what a command says."""

from __future__ import annotations


def assert_says(message: str, *parts: str) -> None:
    """Claim that the message has these parts, in this order."""
    position = 0
    for part in parts:
        assert part in message[position:], f"{part!r} is not in {message[position:]!r}"
        position = message.index(part, position) + len(part)
