from .detection_report import DetectionReport
from .multi_label_report import MultiLabelReport
from .per_class_report import PerClassReport
from .run_comparison import Run, comparison_table, per_class_csv, read_run, read_runs

__all__ = [
    'DetectionReport',
    'MultiLabelReport',
    'PerClassReport',
    'Run',
    'comparison_table',
    'per_class_csv',
    'read_run',
    'read_runs',
]
