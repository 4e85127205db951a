from .detection_report import DetectionReport
from .functional import *
from .metrics import *
from .multi_label_report import MultiLabelReport
from .per_class_report import PerClassReport
