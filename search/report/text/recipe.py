"""What does a recipe say in words: how does a network learn, and what is a block of it made of?"""

from __future__ import annotations

from fmnist.recipe import Block, TrainingPlan
from search.format import percent, with_noun

OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "muon": "Muon", "sgd": "SGD with Nesterov momentum 0.9"}
SCHEDULES = {"cosine": "cosine", "one_cycle": "one-cycle"}
BORDERS = {"black": "", "edge": ", its border repeated"}


def describe_plan(plan: TrainingPlan) -> list[str]:
    """How a network learns.

    Returns:
        One sentence each for optimizer, learning rate, loss, augmentation and length, such as "Learning rate: cosine
        schedule, up to 0.006 over the first 10 % of the steps."
    """
    decay, smoothing = "no weight decay", "no label smoothing"
    if plan.weight_decay:
        decay = f"decoupled weight decay {plan.weight_decay:.2g}"
    if plan.label_smoothing:
        smoothing = f"label smoothing {plan.label_smoothing:g}"
    return [
        f"Optimizer: {OPTIMIZERS[plan.optimizer]}, {decay}, batches of {plan.batch_size} images.",
        _describe_schedule(plan),
        f"Loss: cross-entropy, {smoothing}.",
        f"Augmentation: {', '.join(list_augmentations(plan)) or 'none'}.",
        f"Length: {with_noun(plan.n_epochs, 'epoch')} in a full training.",
    ]


def _describe_schedule(plan: TrainingPlan) -> str:
    rate = f"{plan.peak_learning_rate:.3g}"
    if plan.schedule == "constant":
        return f"Learning rate: {rate} throughout."
    warmup = percent(plan.warmup_fraction, 0)
    return f"Learning rate: {SCHEDULES[plan.schedule]} schedule, up to {rate} over the first {warmup} of the steps."


def list_augmentations(plan: TrainingPlan) -> list[str]:
    """What happens to the training images on their way to the network, in words.

    Such as: "every image mirrored left-right in every second epoch", "shifted by up to 2 pixels each way".
    """
    done = []
    if plan.flip:
        done.append("every image mirrored left-right in every second epoch")
    if plan.shift:
        done.append(f"shifted by up to {with_noun(plan.shift, 'pixel')} each way{BORDERS[plan.border]}")
    if plan.erasing:
        done.append(f"a random rectangle erased with probability {plan.erasing:.2g} (in shorter trainings less)")
    return done


def describe_block(block: Block) -> str:
    """What a block of the network is made of, such as `2 convolutions of 3 x 3, 64 filters, residual`."""
    kernel = f"{block.kernel_size} x {block.kernel_size}"
    parts = [f"{with_noun(block.n_convolutions, 'convolution')} of {kernel}, {block.filters} filters"]
    if block.dropout:
        parts.append(f"dropout {block.dropout:g}")
    if block.residual:
        parts.append("residual")
    return ", ".join(parts)
