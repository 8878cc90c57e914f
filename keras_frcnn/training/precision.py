"""What ``precision=auto`` means on this machine."""

import tensorflow as tf

from keras_frcnn.config import Config

# Processors that multiply bfloat16 in hardware: Intel's AMX and AVX-512 BF16 (AMD's too), Arm's
# BF16.
_CPU_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}
_GPU_CAPABILITY = (8, 0)  # NVIDIA's first with bfloat16 tensor cores


def resolve_precision(config: Config) -> Config:
    """Returns the config with ``precision=auto`` replaced by the fastest safe policy of this
    machine.
    """
    if config.precision != "auto":
        return config
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get(
            "compute_capability", (0, 0)
        )
        has_bfloat16 = capability >= _GPU_CAPABILITY
    else:
        has_bfloat16 = bool(_CPU_FLAGS & _cpu_flags())
    return config.replace(precision="mixed_bfloat16" if has_bfloat16 else "float32")


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
