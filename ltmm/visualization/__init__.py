from .class_distribution_plot import plot_class_distribution
from .reliability_diagram import plot_reliability_diagram
from .run_comparison import Run, comparison_table, per_class_csv, plot_accuracy_against_frequency, read_run, read_runs

__all__ = [
    'Run',
    'comparison_table',
    'per_class_csv',
    'plot_accuracy_against_frequency',
    'plot_class_distribution',
    'plot_reliability_diagram',
    'read_run',
    'read_runs',
]
