"""A data set of grey images."""

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.data.dataset import Dataset, Record


@pytest.fixture
def images(tmp_path):
    """Returns a function that makes a data set of grey images."""

    def make(*images, class_names=("cat", "dog")):
        records = []
        for number, (image_id, *objects) in enumerate(images):
            path = tmp_path / f"{number}.png"
            Image.new("RGB", (200, 120), (90, 90, 90)).save(path)
            boxes = np.array([o[0] for o in objects], np.float32).reshape(-1, 4)
            labels = np.array([o[1] for o in objects], np.int32)
            difficult = np.array([len(o) > 2 and o[2] for o in objects], bool)
            records.append(Record(image_id, str(path), 120, 200, boxes, labels, difficult))
        return Dataset(class_names, records)

    return make
