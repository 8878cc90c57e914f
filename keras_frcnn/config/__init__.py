"""Settings: what each one is, how they are checked, and how flags and flagfiles set them."""

from keras_frcnn.config.augmentation import AugmentationConfig
from keras_frcnn.config.concern import SettingsError
from keras_frcnn.config.data import DATASETS, DataConfig, DataSource
from keras_frcnn.config.evaluation import EvaluationConfig
from keras_frcnn.config.experiment import Config
from keras_frcnn.config.model import ModelConfig
from keras_frcnn.config.network import BACKBONES, PYRAMIDS
from keras_frcnn.config.training import TrainingConfig

__all__ = [
    "BACKBONES",
    "DATASETS",
    "PYRAMIDS",
    "AugmentationConfig",
    "Config",
    "DataConfig",
    "DataSource",
    "EvaluationConfig",
    "ModelConfig",
    "SettingsError",
    "TrainingConfig",
]
