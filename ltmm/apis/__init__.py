"""Use of a trained model: predictions, a web page, export.

``from ltmm.apis import X`` imports a module only when something in it is needed.
"""

from ltmm.utils.lazy import lazy_attributes

__all__ = [
    'ImageFiles',
    'TrainedModel',
    'build_page',
    'check_export',
    'example_inputs',
    'export_model',
    'find_images',
    'load_trained_model',
    'predict_batch',
    'predict_images',
    'predictions_of',
    'run_predictions',
]

MODULES = ('trained_model', 'image_files', 'predictions', 'predict', 'export', 'demo')
__getattr__ = lazy_attributes(__name__, [f'{__name__}.{module}' for module in MODULES])
