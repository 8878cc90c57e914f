"""The layers of Faster R-CNN, one Keras layer per file, in the order of the algorithm."""

from keras_frcnn.layers.anchor_generator import AnchorGenerator
from keras_frcnn.layers.anchor_target_assigner import AnchorTargetAssigner
from keras_frcnn.layers.box_head import BoxHead
from keras_frcnn.layers.dense_proposals import DenseProposals
from keras_frcnn.layers.detection_decoder import DetectionDecoder
from keras_frcnn.layers.proposal_generator import ProposalGenerator
from keras_frcnn.layers.proposal_sampler import ProposalSampler
from keras_frcnn.layers.roi_align import RoIAlign
from keras_frcnn.layers.roi_pooling import RoIPooling
from keras_frcnn.layers.rpn_head import RPNHead

__all__ = [
    "AnchorGenerator",
    "AnchorTargetAssigner",
    "BoxHead",
    "DenseProposals",
    "DetectionDecoder",
    "ProposalGenerator",
    "ProposalSampler",
    "RPNHead",
    "RoIAlign",
    "RoIPooling",
]
