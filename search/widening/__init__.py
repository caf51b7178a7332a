"""How does a study go on in a larger space? `--widen`: may it, what its old trials are there, and how that is written.

`plan` refuses what no larger space is, `trials` records the old trials with the new ranges, so that the sampler learns
from them, and `steps` writes all of it so that a kill leaves the old study or the widened one.
"""
