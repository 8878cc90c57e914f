"""Package metadata. Tools (ruff, pytest) are set in pyproject.toml.

TensorFlow, Keras and TensorBoard are held to the minor versions that the tests were run with:
saved models and the hooks of training change between them.
"""

from pathlib import Path

from setuptools import find_packages, setup

# tensorflow-datasets 4.9.10 needs importlib_resources but does not declare it.
TFDS = ["tensorflow-datasets>=4.9.10,<5", "importlib_resources>=6"]

setup(
    name="keras-frcnn",
    version="0.2.0",
    description="Faster R-CNN for TensorFlow 2 and Keras 3: train, evaluate and serve detectors.",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The keras_frcnn authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    # The flagfiles in configs/ are installed into the package, so that --flagfile=voc07 finds them.
    packages=[
        *find_packages(include=["keras_frcnn", "keras_frcnn.*"]),
        *("keras_frcnn.configs", "keras_frcnn.configs.paper"),
    ],
    package_dir={"keras_frcnn.configs": "configs"},
    # The templates are the markup, style and script of the HTML pages.
    package_data={"": ["templates/*", "*.cfg", "detectors/*", "zoo.json"]},
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "tensorboard>=2.21,<2.22",
        "tensorflow-serving-api>=2.21,<2.22",  # only messages, in Python: warm-up, client
        "numpy>=2.0,<3",
        "h5py>=3.12,<4",
        "absl-py>=2.1,<3",
        "Pillow>=11,<14",
        "defusedxml>=0.7.1,<1",
        "rich>=13,<16",
        "faster-coco-eval>=1.8,<2",
        "google-crc32c>=1.7,<2",
        "protobuf>=6.31,<8",
        "Jinja2>=3.1.5,<4",
        "MarkupSafe>=2.1,<4",
        "msgspec>=0.19,<1",
        "filelock>=3.16,<4",
        "PyYAML>=6.0.2,<7",
    ],
    extras_require={
        "dev": [
            *TFDS,
            "pytest>=8.3,<10",
            "pytest-xdist>=3.6,<4",
            "ruff>=0.17,<0.18",
            "pycocotools>=2.0.10,<3",  # the reference for COCO's figures
            "html5lib>=1.1,<2",  # reads the HTML pages strictly
            "opencv-contrib-python-headless>=4.10,<6",
        ],
        "tfds": TFDS,
        # Reads torchvision's weights files, for import-detector; detectron2's need neither.
        "zoo": ["torch>=2.6", "safetensors>=0.4.5,<1"],
        "onnx": ["tf2onnx>=1.17,<2", "onnx>=1.17,<2", "onnxruntime>=1.20,<2"],
        "openvino": ["openvino>=2026.4,<2027"],
        "video": ["opencv-contrib-python-headless>=4.10,<6"],
        # Selective Search and EdgeBoxes are in OpenCV's contrib modules alone.
        "proposals": ["opencv-contrib-python-headless>=4.10,<6"],
    },
    entry_points={"console_scripts": ["keras-frcnn = keras_frcnn.cli.main:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
