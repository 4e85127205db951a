from .class_distribution_plot import plot_class_distribution
from .run_comparison import Run, comparison_table, per_class_csv, plot_accuracy_against_frequency, read_run

__all__ = [
    'Run',
    'comparison_table',
    'per_class_csv',
    'plot_accuracy_against_frequency',
    'plot_class_distribution',
    'read_run',
]
