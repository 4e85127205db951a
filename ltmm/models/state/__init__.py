"""State that modules keep during training, and base classes of modules that need to know about the training."""

from .average import AverageFromStart
from .class_distribution import ClassDistributionBuffer, UsesClassDistribution
from .class_gaussians import ClassGaussians
from .class_memory import ClassMemory, MeanScores
from .class_rates import ClassRates
from .curriculum import CurriculumLevels
from .feature_queue import FeatureQueue
from .key_encoder import KeyEncoder
from .metrics import UsesMetrics
from .prior_estimate import PriorEstimate
from .progress import UsesLearningRate, UsesProgress
from .prototypes import Prototypes, class_statistics
from .running_sums import RunningConfusion, RunningCounts, RunningGradients
from .sample_table import SampleTable, sample_indices
from .teacher import TeacherMixin
from .train_features import TrainFeatures, UsesTrainFeatures

__all__ = [
    'AverageFromStart',
    'ClassDistributionBuffer',
    'CurriculumLevels',
    'ClassGaussians',
    'ClassMemory',
    'ClassRates',
    'FeatureQueue',
    'KeyEncoder',
    'MeanScores',
    'TeacherMixin',
    'PriorEstimate',
    'Prototypes',
    'RunningConfusion',
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
