"""Post-processing as a switch: one hook corrects what any trained head predicts."""

from collections.abc import Sequence

from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.engine.runner.model_outputs import ModelOutputs, loader_as_tested, model_outputs
from ltmm.models.post_process.base import PostProcess, box_heads
from ltmm.registry import HOOKS, MODELS
from ltmm.utils.wrappers import unwrap_model

__all__ = ['PostProcessHook']


@HOOKS.register_module()
class PostProcessHook(Hook):
    """Corrects what any head of mmpretrain or ltmm, or of mmdet's detectors, predicts in validation and test only.

    ``custom_hooks`` of a config, or of the command line, switch it on for any checkpoint::

        dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.LogitAdjustment', tau=1.0)])

    The corrections run one after another. Nothing of them is saved; ``tools/post_process.py`` writes a checkpoint that
    has them built in. Nearest class means are taken from ``train_dataloader`` before every evaluation. Detectors take
    ``ltmm.NorCal``, classifiers the others.

    Args:
        steps: corrections, such as ``ltmm.LogitAdjustment``, ``ltmm.TauNorm``, ``ltmm.TemperatureScaling`` and
            ``ltmm.NearestClassMean``.

    Raises:
        TypeError: a step that does not fit the head, or a model without one.
        RuntimeError: a step needs the prior, and neither the checkpoint nor ``class_counts`` gives it.
        ValueError: a step that makes new logits and is not the first; or class means are asked for, and the config has
            no ``train_dataloader``.
    """

    priority = 'LOW'

    def __init__(self, steps: Sequence[dict]) -> None:
        self.steps: list[PostProcess] = [MODELS.build(step) for step in steps]
        for step in self.steps:
            if not isinstance(step, PostProcess):
                raise TypeError(f'PostProcessHook: expected steps of post-processing, but got {type(step).__name__}.')
        for step in self.steps[1:]:
            if step.needs_features:
                raise ValueError(
                    f'PostProcessHook: {type(step).__name__} makes new logits, what came before it would be lost. '
                    'Let it be the first step.'
                )

    @property
    def replaces(self) -> tuple[str, ...]:
        """Prefixes of the parameters whose part the steps take over; a checkpoint may lack them."""
        return ('head.',) if any(step.needs_class_means for step in self.steps) else ()

    def before_run(self, runner: Runner) -> None:
        """Hook into the head."""
        if any('roi' in step.fits for step in self.steps):
            return self._correct_boxes(unwrap_model(runner.model))
        head = getattr(unwrap_model(runner.model), 'head', None)
        if not hasattr(head, 'pre_logits'):
            raise TypeError(
                "PostProcessHook: expected a classifier with a head of mmpretrain's kind, but got "
                f'{type(unwrap_model(runner.model)).__name__}.'
            )
        for step in self.steps:
            step.check(head)
        head.register_forward_hook(self._correct)

    def _correct_boxes(self, model: nn.Module) -> None:
        for step in self.steps:
            if 'roi' not in step.fits:
                raise TypeError(f'PostProcessHook: {type(step).__name__} corrects classifiers, not detectors.')
            for head in box_heads(model, type(step).__name__):
                step.check(head)
                step.attach(head)

    def before_val(self, runner: Runner) -> None:
        """Get ready for the weights of this moment."""
        self._prepare(runner)

    def before_test(self, runner: Runner) -> None:
        """Get ready for the weights of this moment."""
        self._prepare(runner)

    def _prepare(self, runner: Runner) -> None:
        model = unwrap_model(runner.model)
        distribution = ClassDistribution.from_state_dict(model.state_dict())
        outputs = None
        for step in self.steps:
            if hasattr(step, 'set_class_distribution'):
                if distribution is not None:
                    step.set_class_distribution(distribution)
                step.get_class_distribution()  # raises where there is none
            if step.needs_class_means:
                outputs = outputs or self._training_outputs(runner)
                step.fit(outputs.features, outputs.label, model.head.num_classes)
            step.to(get_device())

    def _training_outputs(self, runner: Runner) -> ModelOutputs:
        if not runner.cfg.get('train_dataloader'):
            raise ValueError('PostProcessHook: class means are taken from train_dataloader, which the config lacks.')
        runner.logger.info('Taking the class means from the training data:')
        loader = loader_as_tested(runner.cfg, runner.cfg.train_dataloader.dataset)
        return ModelOutputs.join(model_outputs(unwrap_model(runner.model), loader, with_scores=False))

    def _correct(self, head: nn.Module, args: tuple, cls_score: Tensor) -> Tensor:
        if head.training:
            return cls_score
        features = head.pre_logits(args[0]) if any(step.needs_features for step in self.steps) else None
        for step in self.steps:
            cls_score = step(cls_score, features, head)
        return cls_score
