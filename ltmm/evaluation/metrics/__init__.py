from ltmm.utils.environment import mmdet_is_usable

from .calibration_metric import CalibrationMetric
from .early_exit_metric import EarlyExitMetric
from .expert_metric import ExpertMetric
from .long_tail_metric import LongTailMetric
from .multi_label_metric import MultiLabelMetric
from .open_set_metric import OpenSetMetric
from .set_coverage_metric import SetCoverageMetric
from .teacher_metric import TeacherMetric
from .uncertainty_metric import UncertaintyMetric

if mmdet_is_usable():
    from .lvis_metric import LVISMetric
    from .openimages_metric import OpenImagesMetric
