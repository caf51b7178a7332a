"""The command line of a single retraining, checked."""

from __future__ import annotations
