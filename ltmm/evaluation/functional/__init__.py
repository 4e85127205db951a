"""Pure functions behind the metrics; results are in [0, 1], not in percent."""

from .average_precision import *
from .calibration import *
from .class_scores import *
from .clean_selection import *
from .long_tail import *
from .manifolds import *
from .open_set import *
from .roc import *
from .set_coverage import *
from .shots import *
