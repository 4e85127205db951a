from .class_distribution import ClassDistributionBuffer, UsesClassDistribution
from .progress import UsesProgress
from .running_sums import RunningCounts, RunningGradients
from .teacher import HasTeacher

__all__ = [
    'ClassDistributionBuffer',
    'HasTeacher',
    'RunningCounts',
    'RunningGradients',
    'UsesClassDistribution',
    'UsesProgress',
]
