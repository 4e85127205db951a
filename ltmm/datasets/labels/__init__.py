from .label_table import LabelTable, class_distribution_of
from .plain_labels import read_labels

__all__ = ['LabelTable', 'class_distribution_of', 'read_labels']
