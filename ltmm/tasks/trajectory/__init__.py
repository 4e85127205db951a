"""FEND: prediction of trajectories with a long tail of rare manoeuvres."""

from ltmm.utils.lazy import lazy_attributes

from .clusters import cluster_tracks, density_temperatures, toward_x
from .contrast import PrototypeContrast
from .datasets import ETHUCYDataset, SyntheticTrajectories, TrajectoryDataset
from .kalman import kalman_hardness, kalman_prediction
from .layers import HyperLSTMCell, TrajectoryDecoder, TrajectoryEncoder
from .losses import EWTALoss, ewta_loss, prototype_contrast, three_modes_contrast
from .metric import MinADEFDEMetric, hardest, min_ade_fde
from .pictures import draw_predictions
from .predictor import TrajectoryDataPreprocessor, TrajectoryNetwork, TrajectoryPredictor

__all__ = [
    'ETHUCYDataset',
    'EWTALoss',
    'HyperLSTMCell',
    'MinADEFDEMetric',
    'PrototypeContrast',
    'PrototypeContrastHook',
    'SyntheticTrajectories',
    'TrajectoryDataPreprocessor',
    'TrajectoryDataset',
    'TrajectoryDecoder',
    'TrajectoryEncoder',
    'TrajectoryNetwork',
    'TrajectoryPredictor',
    'cluster_tracks',
    'density_temperatures',
    'draw_predictions',
    'ewta_loss',
    'hardest',
    'kalman_hardness',
    'kalman_prediction',
    'min_ade_fde',
    'prototype_contrast',
    'three_modes_contrast',
    'toward_x',
]
__getattr__ = lazy_attributes(__name__, [f'{__name__}.hook'])  # PrototypeContrastHook imports mmpretrain
