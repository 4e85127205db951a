"""Test loop that first learns, from the test images without their labels, how much each expert counts."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ltmm.models.heads import MeanAggregation, MultiExpertClsHead, WeightedAggregation
from ltmm.registry import LOOPS
from ltmm.utils.errors import InputError, InputTypeError
from ltmm.utils.wrappers import unwrap_model

from .model_outputs import underlying_datasets

__all__ = ['AggregationLearner', 'ExpertAggregationLoop', 'view_similarity']


def view_similarity(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    """Mean cosine between the predictions of two views of the same images.

    Args:
        first: expert logits of one view, (E, N, C).
        second: expert logits of the other view, (E, N, C).
        weights: of the experts, (E,).
    """
    predictions = [torch.einsum('e,enc->nc', weights.to(view), view).softmax(1) for view in (first, second)]
    return F.cosine_similarity(*predictions, dim=1, eps=1e-6).mean()


class AggregationLearner:
    """The weights of the experts, softmax of E numbers that start equal, and the optimizer that moves them.

    Several processes, each with its part of the images, take the same steps.

    Args:
        num_experts: E.
        lr: rate of SGD with Nesterov momentum 0.9.
        weight_decay: of SGD.
        device: of the weights.
    """

    def __init__(self, num_experts: int, lr: float, weight_decay: float, device: torch.device | str = 'cpu') -> None:
        start = torch.full((num_experts,), 1 / num_experts, dtype=torch.float64, device=device)
        self.parameter = nn.Parameter(start)
        self.optimizer = torch.optim.SGD([self.parameter], lr, momentum=0.9, weight_decay=weight_decay, nesterov=True)

    @property
    def weights(self) -> Tensor:
        """Weights of the experts, (E,)."""
        return self.parameter.detach().softmax(0)

    def step(self, first: Tensor, second: Tensor) -> None:
        """Make the predictions of two views more alike; see :func:`view_similarity`."""
        self.optimizer.zero_grad()
        (-view_similarity(first, second, self.parameter.softmax(0))).backward()
        all_reduce(self.parameter.grad, op='mean')
        self.optimizer.step()


@LOOPS.register_module()
class ExpertAggregationLoop(TestLoop):
    """Weighs the experts by how stable their predictions are on the test images, then tests as usual.

    An expert is more stable on the classes it is good at, so a tail-heavy test set gives the tail's expert more weight.
    No label is looked at. The network is frozen; the weights are logged, and the head has its own aggregation again
    after the test. Use it as ``test_cfg`` of a model with the mean of the experts.

    [0] Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed Recognition,
        NeurIPS 2022, arXiv 2107.09249.
    [1] github.com/Vanint/SADE-AgnosticLT @cba11b8, ``test_training_cifar.py``. Equal to [1] on its own numbers
        (tests/conformance, ``sade_tta``).

    Args:
        runner: the runner.
        dataloader: config of the test data.
        evaluator: of the test.
        pipeline: replaces that of the test data while the weights are learned; it ends in two augmented views of each
            image (``MultiView`` and ``PackInputs``).
        lr: learning rate; that of the training in [1].
        weight_decay: that of the training in [1].
        max_epochs: passes over the test images.
        batch_size: images in a batch.
        stop_below: end after the first epoch in which an expert has less weight, rounded to two places.

    Raises:
        TypeError: a model without :class:`ltmm.models.MultiExpertClsHead`, a head that does not take the mean of its
            experts, or a dataloader that is no config.
        ValueError: a pipeline that does not give two views.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        evaluator: Evaluator | dict | list,
        pipeline: Sequence[dict],
        lr: float,
        weight_decay: float,
        max_epochs: int = 5,
        batch_size: int = 128,
        stop_below: float = 0.05,
    ) -> None:
        if not isinstance(dataloader, dict):
            raise InputTypeError(
                f'ExpertAggregationLoop expects the config of a dataloader, but got {type(dataloader).__name__}.'
            )
        views = copy.deepcopy(dataloader)
        for dataset in underlying_datasets(views['dataset']):
            dataset['pipeline'] = pipeline
        views.update(
            batch_size=batch_size,
            sampler=dict(type='DefaultSampler', shuffle=True, seed=runner.seed),
            collate_fn=dict(type='default_collate'),
        )
        super().__init__(runner, dataloader, evaluator)
        self.view_loader: DataLoader = Runner.build_dataloader(views)
        self.model = unwrap_model(runner.model)
        self.head = getattr(self.model, 'head', None)
        if not isinstance(self.head, MultiExpertClsHead) or not isinstance(self.head.aggregation, MeanAggregation):
            raise InputTypeError(
                "ExpertAggregationLoop expects a model with head=dict(type='ltmm.MultiExpertClsHead', "
                f"aggregation=dict(type='ltmm.MeanAggregation')), but got {type(self.head).__name__}"
                + (f' with {type(self.head.aggregation).__name__}.' if hasattr(self.head, 'aggregation') else '.')
            )
        self.lr, self.weight_decay, self.max_epochs, self.stop_below = lr, weight_decay, max_epochs, stop_below

    def run(self) -> dict:
        """Learn the weights, test with them, and take them away again."""
        own, weights = self.head.aggregation, self.learn()
        self.head.aggregation = WeightedAggregation(weights.tolist()).to(weights.device)
        try:
            return super().run()
        finally:
            self.head.aggregation = own

    def learn(self) -> Tensor:
        """Weights of the experts, (E,)."""
        self.model.eval()
        device = next(self.model.parameters()).device
        learner = AggregationLearner(self.head.num_experts, self.lr, self.weight_decay, device)
        for epoch in range(self.max_epochs):
            self.view_loader.sampler.set_epoch(epoch)
            for batch in self.view_loader:
                learner.step(*self._expert_logits(batch['inputs']))
            shown = [round(weight, 2) for weight in learner.weights.tolist()]
            self.runner.logger.info(f'Weights of the experts after epoch {epoch + 1} on the test images: {shown}')
            if min(shown) < self.stop_below:
                break
        return learner.weights

    @torch.no_grad()
    def _expert_logits(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Expert logits (E, N, C) of both views."""
        if isinstance(views, Tensor) or len(views) != 2:
            raise InputError(
                "ExpertAggregationLoop expects a pipeline of two views: dict(type='MultiView', num_views=[2], "
                "transforms=[[...]]), then dict(type='PackInputs')."
            )
        inputs = [self.model.data_preprocessor(dict(inputs=view), False)['inputs'] for view in views]
        return [self.head.expert_logits(self.model.extract_feat(view)) for view in inputs]
