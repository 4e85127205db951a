from .base import ClassificationLoss, ClassPriorLoss, reduce_loss
from .classification import *
from .detection import *
from .distillation import *
from .expert import *
from .multi_label import *
