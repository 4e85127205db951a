from .attention_report import *
from .detection_report import DetectionReport
from .feature_report import *
from .manifold_report import *
from .multi_label_report import MultiLabelReport
from .per_class_report import PerClassReport
from .run_comparison import *
