"""Labels and annotations of datasets.

``from ltmm.datasets.labels import X`` imports a module only when something in it is needed; those that read annotation
files do without torch.
"""

from ltmm.utils.lazy import lazy_attributes

__all__ = ['LabelTable', 'class_distribution_of', 'read_labels']

__getattr__ = lazy_attributes(__name__, [f'{__name__}.{module}' for module in ('label_table', 'plain_labels')])
