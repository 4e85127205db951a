"""What a module keeps while it trains, and what it is told about the training.

For an exponential moving average of a network, such as a key encoder, use MMEngine's ``ExponentialMovingAverage``.
"""

from .class_distribution import ClassDistributionBuffer, UsesClassDistribution
from .feature_queue import FeatureQueue
from .metrics import UsesMetrics
from .progress import UsesProgress
from .prototypes import Prototypes, class_statistics
from .running_sums import RunningCounts, RunningGradients
from .sample_table import SampleTable, sample_indices
from .teacher import HasTeacher
from .train_features import TrainFeatures, UsesTrainFeatures

__all__ = [
    'ClassDistributionBuffer',
    'FeatureQueue',
    'HasTeacher',
    'Prototypes',
    'RunningCounts',
    'RunningGradients',
    'SampleTable',
    'TrainFeatures',
    'UsesClassDistribution',
    'UsesMetrics',
    'UsesProgress',
    'UsesTrainFeatures',
    'class_statistics',
    'sample_indices',
]
