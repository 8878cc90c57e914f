"""Learning rates as pure functions of the step, so that a resumed run has the rate of an unbroken
one.
"""

import keras
import tensorflow as tf

from keras_frcnn.config import Config

_WARMUP_START = 0.1


@keras.saving.register_keras_serializable("keras_frcnn")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, whose rate rises linearly from a tenth of it over the first steps.

    Args:
        schedule: the schedule to follow.
        warmup_steps: step from which on it is followed alone.
    """

    def __init__(self, schedule, warmup_steps):
        self.schedule = schedule
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        progress = tf.minimum(tf.cast(step, tf.float32) / max(self.warmup_steps, 1), 1.0)
        factor = _WARMUP_START + (1.0 - _WARMUP_START) * progress if self.warmup_steps else 1.0
        return self.schedule(step) * factor

    def get_config(self):
        return {"schedule": self.schedule, "warmup_steps": self.warmup_steps}

    @classmethod
    def from_config(cls, config):
        return cls(
            keras.saving.deserialize_keras_object(config["schedule"]), config["warmup_steps"]
        )


def make_schedule(config: Config) -> LinearWarmup:
    """Builds the schedule that ``config`` describes; ``lr_boundaries`` are the first steps at the
    lower rates.
    """
    if config.lr_schedule == "cosine":
        schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, config.steps)
    else:
        rates = [
            config.learning_rate * config.lr_decay_factor**i
            for i in range(len(config.lr_boundaries) + 1)
        ]
        # Keras still has the old rate where step == boundary, and needs a boundary even if there is
        # none: the last rate falls to itself.
        end = max(config.steps, *config.lr_boundaries, 0)  # drops beyond it never come
        boundaries = [boundary - 1 for boundary in (*config.lr_boundaries, end)]
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
            boundaries, [*rates, rates[-1]]
        )
    return LinearWarmup(schedule, config.warmup_steps)
