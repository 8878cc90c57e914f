"""The files that TensorFlow Serving's own flags name: its models, and how it batches requests."""

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from keras_frcnn import files

_MODELS = """\
# For tensorflow_model_server --model_config_file={path}
# In a container, base_path is the folder's path inside the container.
# The highest version is served. To go back to version 1, add to the config below
#   model_version_policy {{ specific {{ versions: 1 }} }}
# With --model_config_file_poll_wait_seconds=60, the server reads this file again every minute.
"""

_BATCHING = """\
# For tensorflow_model_server --enable_batching --batching_parameters_file={path}
# Without export --batch_pixels, serve_bytes and serve_examples detect on one image after the other,
# so joining requests makes them no faster. These settings limit instead what runs at once: as many
# requests as the server has cores, each alone, while as many as max_enqueued_batches wait. Further
# ones are refused at once (UNAVAILABLE), and memory stays bounded.
# Larger batches pay on a GPU: for serving_default if all images have one size, and for files with
# --batch_pixels. Never set pad_variable_length_inputs: it would change the images.
max_batch_size {{ value: {max_batch_size} }}
batch_timeout_micros {{ value: 0 }}
max_enqueued_batches {{ value: 100 }}
"""


def write(output_dir: Path) -> None:
    """Writes ``models.config`` and ``batching.config``, unless they are there: users edit them.

    Args:
        output_dir: the folder that TensorFlow Serving watches.
    """
    place = output_dir.resolve()
    models, batching = place / "models.config", place / "batching.config"
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(
        name=place.name, base_path=str(place), model_platform="tensorflow"
    )
    config = text_format.MessageToString(config, as_utf8=True)
    contents = {
        models: _MODELS.format(path=models) + config,
        batching: _BATCHING.format(path=batching, max_batch_size=8),
    }
    for path, content in contents.items():
        if not path.exists():
            files.write_text(path, content)
