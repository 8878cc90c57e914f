"""Which arithmetic a run takes on this machine: what ``precision=auto`` means."""

from collections.abc import Callable

import tensorflow as tf

from keras_frcnn.config import Config

# Processors that multiply bfloat16 in hardware: Intel's AMX and AVX-512 BF16 (AMD's too), Arm's
# BF16.
_CPU_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}
_GPU_CAPABILITY = (8, 0)  # NVIDIA's first with bfloat16 tensor cores


def for_training(config: Config, say: Callable[[str], None]) -> Config:
    """Replaces ``precision=auto`` by the fastest safe policy of this machine, and says so.

    Raises:
        ValueError: if the precision is not one to learn in.
    """
    if config.precision == "bfloat16":
        raise ValueError(
            "--precision=bfloat16 keeps the weights in 8 bits of precision, in which small steps "
            "are lost; it is for detecting, evaluating and exporting. Train with "
            "--precision=mixed_bfloat16"
        )
    return _resolve(config, say)


def for_use(config: Config, say: Callable[[str], None]) -> Config:
    """As ``for_training``, for a model that does not learn: its weights can be kept in the type
    they are multiplied in. The answers are the same as in ``mixed_bfloat16``, without its casts and
    with half the memory.
    """
    config = _resolve(config, say)
    is_mixed = config.precision == "mixed_bfloat16"
    return config.replace(precision="bfloat16") if is_mixed else config


def _resolve(config, say):
    if config.precision != "auto":
        return config
    precision, reason = _fastest()
    say(f"precision: {precision} ({reason}; --precision chooses another)")
    return config.replace(precision=precision)


def _fastest():
    """The policy for this machine, and why."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        name = details.get("device_name", "the GPU")
        if details.get("compute_capability", (0, 0)) >= _GPU_CAPABILITY:
            return "mixed_bfloat16", f"{name} multiplies bfloat16"
        return "float32", f"{name} does not multiply bfloat16"
    flags = sorted(_CPU_FLAGS & _cpu_flags())
    if flags:
        return "mixed_bfloat16", f"the processor multiplies bfloat16: {', '.join(flags)}"
    return "float32", "no processor or GPU here is known to multiply bfloat16"


def _cpu_flags():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return set(value.split())
    except OSError:  # not Linux: stay with what is always safe
        pass
    return set()
