from .detection_report import DetectionReport
from .functional import *
from .metrics import *
from .per_class_report import PerClassReport
