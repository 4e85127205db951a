from .label_table import LabelTable

__all__ = ['LabelTable']
