from .base import ClassificationLoss, ClassPriorLoss, CosineLoss, LogitLoss, reduce_loss
from .classification import *
from .contrastive import *
from .detection import *
from .distillation import *
from .expert import *
from .multi_label import *
from .objective import LossInputs, Objective
from .semi import *
