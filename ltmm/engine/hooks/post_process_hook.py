"""Hook that corrects the predictions of a trained model."""

from collections.abc import Sequence

from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ltmm.class_distribution import ClassDistribution
from ltmm.engine.post_process.balanced_models import warn_if_balanced
from ltmm.models.post_process import PostProcess
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import HOOKS, MODELS, POST_PROCESSORS
from ltmm.utils.errors import InputError, InputTypeError
from ltmm.utils.wrappers import unwrap_model

from .class_distribution_hook import ClassDistributionHook

__all__ = ['PostProcessHook']


@HOOKS.register_module()
class PostProcessHook(Hook):
    """Corrects the predictions of a classifier or detector in validation and test, never in training.

    ``custom_hooks`` of a config, or of the command line, switch it on for any checkpoint::

        dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.LogitAdjustment', tau=1.0)])

    The corrections run one after another. They are not saved; ``tools/post_process.py`` writes a checkpoint that holds
    them. What has to be fitted, such as class means, is fitted before every evaluation. Detectors take ``ltmm.NorCal``,
    ``ltmm.FRACAL`` and ``ltmm.LogN``, classifiers the others.

    Args:
        steps: Configs of the corrections.
    """

    priority = 'LOW'

    def __init__(self, steps: Sequence[dict]) -> None:
        self.steps: list[PostProcess] = [MODELS.build(step) for step in steps]
        for number, step in enumerate(self.steps):
            if not isinstance(step, PostProcess):
                raise InputTypeError(f'PostProcessHook: {type(step).__name__} is no correction.')
            if number and step.replaces_logits:
                raise InputError(f'PostProcessHook: {type(step).__name__} computes new logits, so it has to be first.')
            if step.has_to_be_last and step is not self.steps[-1]:
                raise InputError(
                    f'PostProcessHook: {type(step).__name__} has to be last, as it is fitted to the final logits.'
                )
        self.is_attached = False
        self.to_fit = [step for step in self.steps if step.needs_fit]

    @property
    def replaces(self) -> tuple[str, ...]:
        """Prefixes of parameters that the corrections replace; a checkpoint may lack them."""
        return tuple(prefix for step in self.steps for prefix in step.replaces)

    def before_run(self, runner: Runner) -> None:
        """Attach the corrections to the heads, once if a runner trains and tests."""
        if self.is_attached:
            return
        self.is_attached = True
        for step in self.steps:
            warn_if_balanced(step, unwrap_model(runner.model), runner.cfg)
            step.attach_to(unwrap_model(runner.model))

    def before_val(self, runner: Runner) -> None:
        """Fit the corrections to the current weights."""
        self._fit(runner)

    def before_test(self, runner: Runner) -> None:
        """Fit the corrections to the current weights."""
        self._fit(runner)

    def _fit(self, runner: Runner) -> None:
        model = unwrap_model(runner.model)
        counted = next((hook.distribution for hook in runner.hooks if isinstance(hook, ClassDistributionHook)), None)
        distribution = ClassDistribution.from_state_dict(model.state_dict(), counted and counted.class_names)
        for step in self.steps:
            step.enabled = False
        for step in self.steps:  # each sees the predictions that those before it have corrected
            if isinstance(step, UsesClassDistribution):
                if distribution is not None:
                    step.set_class_distribution(distribution)
                if step.corrects_prior:
                    step.get_class_distribution()  # raises if there is none
            if step in self.to_fit:
                step.fit(*POST_PROCESSORS.get(step.processor).splits(step, model, runner.cfg, distribution))
            step.to(get_device())
            step.enabled = True
