"""The charts of what a report's figures are worth: calibration, changed images, survival at the rungs, rivals."""

from __future__ import annotations
