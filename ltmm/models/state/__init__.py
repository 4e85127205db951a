"""State that modules keep during training, and base classes of modules that need to know about the training.

There is no momentum copy of a network here, such as the key encoder of MoCo: use ``mmengine.model``'s
``ExponentialMovingAverage(network, momentum=1 - m)``. Call ``update_parameters(network)`` before the keys are computed.
It copies the buffers of the network (batch-norm statistics); leave ``update_buffers=False``, since its average of
buffers stays behind when the model moves to another device.
"""

from .class_distribution import ClassDistributionBuffer, UsesClassDistribution
from .class_rates import ClassRates
from .curriculum import CurriculumLevels
from .feature_queue import FeatureQueue
from .metrics import UsesMetrics
from .progress import UsesLearningRate, UsesProgress
from .prototypes import Prototypes, class_statistics
from .running_sums import RunningCounts, RunningGradients
from .sample_table import SampleTable, sample_indices
from .teacher import TeacherMixin
from .train_features import TrainFeatures, UsesTrainFeatures

__all__ = [
    'ClassDistributionBuffer',
    'CurriculumLevels',
    'ClassRates',
    'FeatureQueue',
    'TeacherMixin',
    'Prototypes',
    'RunningCounts',
    'RunningGradients',
    'SampleTable',
    'TrainFeatures',
    'UsesClassDistribution',
    'UsesLearningRate',
    'UsesMetrics',
    'UsesProgress',
    'UsesTrainFeatures',
    'class_statistics',
    'sample_indices',
]
