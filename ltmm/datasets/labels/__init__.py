from .label_table import LabelTable, class_distribution_of

__all__ = ['LabelTable', 'class_distribution_of']
