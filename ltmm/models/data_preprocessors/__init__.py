from .multi_view_data_preprocessor import MultiViewDataPreprocessor
from .semi_supervised_data_preprocessor import SemiSupervisedDataPreprocessor

__all__ = ['MultiViewDataPreprocessor', 'SemiSupervisedDataPreprocessor']
