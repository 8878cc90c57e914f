"""The files for TensorFlow Serving's flags: its own parsers read them, and users' files stay."""

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from keras_frcnn.serving import server_files


def test_the_server_reads_its_models(tmp_path):
    base = tmp_path / 'it\'s a "döt"'
    base.mkdir()
    server_files.write(base)
    config = text_format.Parse(
        (base / "models.config").read_text("utf-8"), model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == (base.name, str(base))
    assert model.model_platform == "tensorflow"


def test_the_batching_parameters_have_the_servers_names(tmp_path):
    server_files.write(tmp_path)
    lines = (tmp_path / "batching.config").read_text("utf-8").splitlines()
    names = [line.split()[0] for line in lines if not line.startswith("#")]
    assert names == ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches"]


def test_files_that_are_there_are_kept(tmp_path):
    (tmp_path / "batching.config").write_text("edited")
    server_files.write(tmp_path)
    assert (tmp_path / "batching.config").read_text() == "edited"
    assert (tmp_path / "models.config").exists()
