"""Resolves ``precision=auto`` to the fastest safe number format on this machine."""

from collections.abc import Callable

from keras_frcnn.config import Config

# Flags of CPUs that multiply bfloat16 in hardware: Intel's AMX, AVX-512 BF16 of Intel and AMD, and
# Arm's BF16.
_CPU_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}
_EXPORTED = {
    "float32": "it gives the exact answers and runs everywhere; --precision chooses another",
    "bfloat16": "half the size; fast only on processors that multiply bfloat16, others are slower "
    "or cannot run it",
    "float16": "half the size; fast only on GPUs, CPUs are slower",
}
_MIN_GPU_CAPABILITY = (8, 0)  # NVIDIA's first GPUs with tensor cores for bfloat16.


def for_training(config: Config, say: Callable[[str], None]) -> Config:
    """Returns the settings with ``precision=auto`` resolved for training.

    Args:
        config: the settings.
        say: called with a line of text about the choice and the reason.

    Raises:
        ValueError: If models cannot be trained in this precision.
    """
    check_training(config)
    return _resolve(config, say)


def check_training(config: Config) -> None:
    """Refuses a precision in which models cannot be trained.

    Raises:
        ValueError: If it is ``bfloat16`` or ``float16``.
    """
    bits = {"bfloat16": 8, "float16": 11}.get(config.precision)
    if bits:
        raise ValueError(
            f"--precision={config.precision} stores the weights with {bits} bits of precision, so "
            "small updates are lost. It is for detection, evaluation and export. Train with "
            f"--precision=mixed_{config.precision}"
        )


def for_use(config: Config, say: Callable[[str], None]) -> Config:
    """Returns the settings with ``precision`` resolved for a model that is not trained.

    ``mixed_bfloat16`` becomes ``bfloat16``, so the weights are stored in the format in which they
    are multiplied. The results stay the same, but the weights need no casts and half the memory.

    Args:
        config: the settings.
        say: see ``for_training``.
    """
    config = _resolve(config, say)
    is_mixed = config.precision == "mixed_bfloat16"
    return config.replace(precision="bfloat16") if is_mixed else config


def for_export(config: Config, precision: str, say: Callable[[str], None]) -> Config:
    """Returns the settings with the precision in which a model is exported.

    Args:
        config: the settings.
        precision: a value of the setting ``precision``. ``mixed_float16`` becomes ``float16``, as
            ``mixed_bfloat16`` becomes ``bfloat16``.
        say: called with a line of text about the choice.
    """
    config = for_use(config.replace(precision=precision), say)
    chosen = config.precision.removeprefix("mixed_")
    say(f"precision of the SavedModel: {chosen} ({_EXPORTED[chosen]})")
    return config.replace(precision=chosen)


def cpu_bfloat16_flags() -> list[str]:
    """Returns the CPU's flags that show that it multiplies bfloat16 in hardware."""
    return sorted(_CPU_FLAGS & _read_cpu_flags())


def _resolve(config, say):
    if config.precision != "auto":
        return config
    precision, reason = _fastest_precision()
    say(f"precision: {precision} ({reason}; --precision chooses another)")
    return config.replace(precision=precision)


def _fastest_precision():
    """Returns the fastest precision on this machine, and the reason."""
    import tensorflow as tf  # takes seconds to load, and only "auto" needs it

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        name = details.get("device_name", "the GPU")
        if details.get("compute_capability", (0, 0)) >= _MIN_GPU_CAPABILITY:
            return "mixed_bfloat16", f"{name} multiplies bfloat16 in hardware"
        return "float32", f"{name} does not multiply bfloat16 in hardware"
    flags = cpu_bfloat16_flags()
    if flags:
        return "mixed_bfloat16", f"the CPU multiplies bfloat16 in hardware: {', '.join(flags)}"
    return "float32", "neither the CPU nor a GPU is known to multiply bfloat16 in hardware"


def _read_cpu_flags():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("flags", "Features"):
                    return set(value.split())
    except OSError:  # Only Linux has this file. Without it, float32 is the safe choice.
        pass
    return set()
