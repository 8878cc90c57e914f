"""Readers of annotated images: one module for each format in ``config.DATASETS``.

- ``voc``: PASCAL VOC's layout; ``voc_xml`` reads one annotation.
- ``coco``: COCO's JSON; ``coco_json`` reads one file.
- ``yolo``: data.yaml and its labels.
- ``folder``: a plain folder of images with annotations beside them.
- ``tfrecord``: TFRecords; ``tfrecord_file`` finds their records, ``tf_example`` reads one of them.
- ``tfds``: TensorFlow Datasets.
"""
