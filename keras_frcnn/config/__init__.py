"""Settings: what each one is, how they are checked, and how flags and flagfiles set them."""

from keras_frcnn.config.experiment import Config, DataSource, element_type, type_name

__all__ = ["Config", "DataSource", "element_type", "type_name"]
