"""Learning rate schedules.

They are pure functions of the step, so a resumed run has the same rates as an uninterrupted one.
"""

import keras
import tensorflow as tf

from keras_frcnn.config import Config

_WARMUP_START = 0.1


@keras.saving.register_keras_serializable("keras_frcnn")
class LinearWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Multiplies another schedule by a factor that rises linearly from 0.1 to 1.

    Args:
        schedule: the other schedule.
        warmup_steps: the step at which the factor reaches 1; 0 for no warm-up.
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
    """Creates the schedule that the settings describe.

    Each of ``lr_boundaries`` is the first step with the next lower rate.
    """
    if config.lr_schedule == "cosine":
        schedule = keras.optimizers.schedules.CosineDecay(
            config.learning_rate, config.steps, alpha=config.lr_end_factor
        )
    elif config.lr_schedule in ("linear", "polynomial"):
        schedule = keras.optimizers.schedules.PolynomialDecay(
            config.learning_rate,
            config.steps,
            end_learning_rate=config.learning_rate * config.lr_end_factor,
            power=config.lr_power if config.lr_schedule == "polynomial" else 1.0,
        )
    else:
        rates = [
            config.learning_rate * config.lr_decay_factor**i
            for i in range(len(config.lr_boundaries) + 1)
        ]
        # Keras still returns the higher rate at step == boundary, hence the "- 1". It also requires
        # at least one boundary, so one is added at the end, at which the rate does not change.
        end = max(config.steps, *config.lr_boundaries, 0)
        boundaries = [boundary - 1 for boundary in (*config.lr_boundaries, end)]
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
            boundaries, [*rates, rates[-1]]
        )
    return LinearWarmup(schedule, config.resolved_warmup_steps)
