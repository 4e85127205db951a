from .attention_plot import plot_attention
from .class_distribution_plot import plot_class_distribution
from .cost_plot import plot_accuracy_against_cost
from .coverage_plot import plot_coverage
from .feature_plot import plot_features
from .frequency_plot import plot_accuracy_against_frequency, plot_groups_against_frequency
from .manifold_plot import plot_manifolds
from .mlflow_backend import MLflowVisBackend
from .reliability_diagram import plot_reliability_diagram
from .selection_plot import plot_selection, read_selection
from .super_class_plot import plot_super_classes

__all__ = [
    'MLflowVisBackend',
    'plot_accuracy_against_cost',
    'plot_accuracy_against_frequency',
    'plot_attention',
    'plot_class_distribution',
    'plot_coverage',
    'plot_features',
    'plot_groups_against_frequency',
    'plot_manifolds',
    'plot_reliability_diagram',
    'plot_selection',
    'plot_super_classes',
    'read_selection',
]
