"""Features of the whole training set, for methods that cluster, average or select them."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ['TrainFeatures', 'UsesTrainFeatures']


@dataclass(frozen=True, eq=False)
class TrainFeatures:
    """The training set as the model sees it in evaluation mode, on the CPU, in the order of the dataset.

    Args:
        features: Input of the classifier layer, float32, (N, D).
        logits: Float32, (N, C); None if no module asked for them.
        label: Class indices, (N,).
        sample_idx: Indices of the samples in the dataset, (N,); the keys of a :class:`SampleTable`.
        teacher_logits: Those of the frozen teachers of the model, float32, (N, C); None if no module asked for them.
        key_features: Features by the key encoder of a :class:`MomentumClassifier`, float32, (N, D); None if no module
            asked for them.
        seed: Of the training, the same on all ranks, for random choices.
    """

    features: Tensor
    logits: Tensor | None
    label: Tensor
    sample_idx: Tensor
    teacher_logits: Tensor | None = None
    key_features: Tensor | None = None
    seed: int = 0


class UsesTrainFeatures:
    """Mixin for modules that use the features of the training set.

    :class:`ltmm.engine.TrainFeaturesHook` calls :meth:`on_train_features` before the epochs that
    :meth:`needs_train_features` chooses.

    Attributes:
        needs_train_logits: Whether to compute the logits too.
        needs_train_teacher_logits: Whether to compute those of the teachers too, of a :class:`DistillClassifier` or a
            :class:`LFMEClassifier`.
        needs_train_key_features: Whether to compute the features by the key encoder too.
        num_augmented_passes: Passes with the transforms of the training set, drawn anew each time, in place of one pass
            with those of the test set; of several views the first counts.
    """

    needs_train_logits = False
    needs_train_teacher_logits = False
    needs_train_key_features = False
    num_augmented_passes = 0

    def needs_train_features(self, epoch: int) -> bool:
        """Return whether to compute the features before this epoch, counted from 0; every epoch by default."""
        return True

    def on_train_features(self, *outputs: TrainFeatures) -> None:
        """Use the features, of each pass.

        All ranks get the same. Random choices, as of the first centers of clusters, need a generator that is seeded
        alike on all ranks: by ``seed`` of the outputs and the epoch.
        """
        raise NotImplementedError(f'{type(self).__name__} must define on_train_features(outputs).')
