"""MLflow's visualization backend of MMEngine, at the store that MLflow itself would use."""

from typing import Any

from mmengine.visualization import MLflowVisBackend as _MLflowVisBackend

from ltmm.registry import VISBACKENDS

__all__ = ['MLflowVisBackend']


@VISBACKENDS.register_module()
class MLflowVisBackend(_MLflowVisBackend):
    """MMEngine's backend, with MLflow's own tracking URI as default.

    MMEngine's default is a folder inside the work directory, which MLflow 3 refuses. Here it is MLFLOW_TRACKING_URI, or
    else MLflow's default, so that ``mlflow ui`` in the same folder shows the run. Files are uploaded by
    :class:`ltmm.engine.hooks.TrackingHook` and not by their suffix.

    Args:
        save_dir: Folder of the backend.
        **kwargs: See MMEngine.
    """

    def __init__(self, save_dir: str, artifact_suffix: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(save_dir, artifact_suffix=artifact_suffix, **kwargs)

    def _init_env(self) -> None:
        import mlflow

        self._tracking_uri = self._tracking_uri or mlflow.get_tracking_uri()
        super()._init_env()
