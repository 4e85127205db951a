"""Test loop that first learns the weights of the experts from the unlabeled test images."""

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
    """Compute the mean cosine similarity between the predictions for two views of the same images.

    Args:
        first: Expert logits of one view, (E, N, C).
        second: Expert logits of the other view, (E, N, C).
        weights: Expert weights, (E,).
    """
    predictions = [torch.einsum('e,enc->nc', weights.to(view), view).softmax(1) for view in (first, second)]
    return F.cosine_similarity(*predictions, dim=1, eps=1e-6).mean()


class AggregationLearner:
    """Learns expert weights, a softmax of E parameters, by SGD with Nesterov momentum 0.9; all ranks take equal steps.

    Args:
        num_experts: E.
        lr: Learning rate.
        weight_decay: Weight decay.
        device: Device of the weights.
    """

    def __init__(self, num_experts: int, lr: float, weight_decay: float, device: torch.device | str = 'cpu') -> None:
        start = torch.full((num_experts,), 1 / num_experts, dtype=torch.float64, device=device)
        self.parameter = nn.Parameter(start)
        self.optimizer = torch.optim.SGD([self.parameter], lr, momentum=0.9, weight_decay=weight_decay, nesterov=True)

    @property
    def weights(self) -> Tensor:
        """Expert weights, (E,)."""
        return self.parameter.detach().softmax(0)

    def step(self, first: Tensor, second: Tensor) -> None:
        """Increase the :func:`view_similarity` of a batch."""
        self.optimizer.zero_grad()
        (-view_similarity(first, second, self.parameter.softmax(0))).backward()
        all_reduce(self.parameter.grad, op='mean')
        self.optimizer.step()


@LOOPS.register_module()
class ExpertAggregationLoop(TestLoop):
    """Weights the experts by the stability of their predictions on the test images, then tests as usual.

    Experts are more stable on the classes they are good at, so a test set with many rare classes gives more weight to
    their expert. No label is used, and the network is frozen. The weights are logged; after the test the head has its
    own aggregation again. Use it as ``test_cfg`` of a model that averages its experts.

    References:
        [0] Zhang et al., Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed Recognition,
            NeurIPS 2022, arXiv 2107.09249.
        [1] github.com/Vanint/SADE-AgnosticLT @cba11b8, ``test_training_cifar.py``. Reproduced (tests/conformance,
            ``sade_tta``).

    Args:
        runner: Runner.
        dataloader: Config of the test dataloader.
        evaluator: Evaluator of the test.
        pipeline: Pipeline while the weights are learned; it ends in two augmented views of each image (``MultiView``
            and ``PackInputs``).
        lr: Learning rate; that of the training in [1].
        weight_decay: Weight decay; that of the training in [1].
        max_epochs: Passes over the test images.
        batch_size: Images per batch.
        stop_below: Stop after the first epoch in which the weight of an expert, rounded to two places, is smaller.
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
        self.head = dict(self.model.named_children()).get('head')
        aggregation = self.head.aggregation if isinstance(self.head, MultiExpertClsHead) else None
        if not isinstance(aggregation, MeanAggregation):
            raise InputTypeError(
                "ExpertAggregationLoop expects a model with head=dict(type='ltmm.MultiExpertClsHead', "
                f"aggregation=dict(type='ltmm.MeanAggregation')), but got {type(self.head).__name__}"
                + (f' with {type(aggregation).__name__}.' if aggregation else '.')
            )
        self.lr, self.weight_decay, self.max_epochs, self.stop_below = lr, weight_decay, max_epochs, stop_below

    def run(self) -> dict:
        """Learn the weights, test with them, and restore the aggregation."""
        own, weights = self.head.aggregation, self.learn()
        self.head.aggregation = WeightedAggregation(weights.tolist()).to(weights.device)
        try:
            return super().run()
        finally:
            self.head.aggregation = own

    def learn(self) -> Tensor:
        """Learn the expert weights, (E,)."""
        self.model.eval()
        device = next(self.model.parameters()).device
        learner = AggregationLearner(self.head.num_experts, self.lr, self.weight_decay, device)
        for epoch in range(self.max_epochs):
            self.view_loader.sampler.set_epoch(epoch)
            for batch in self.view_loader:
                learner.step(*self._expert_logits(batch['inputs']))
            shown = [round(weight, 2) for weight in learner.weights.tolist()]
            self.runner.logger.info(f'Expert weights after epoch {epoch + 1} on the test images: {shown}')
            if min(shown) < self.stop_below:
                break
        return learner.weights

    @torch.no_grad()
    def _expert_logits(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Compute the expert logits (E, N, C) of both views."""
        if isinstance(views, Tensor) or len(views) != 2:
            raise InputError(
                "ExpertAggregationLoop expects a pipeline of two views: dict(type='MultiView', num_views=[2], "
                "transforms=[[...]]), then dict(type='PackInputs')."
            )
        inputs = [self.model.data_preprocessor(dict(inputs=view), False)['inputs'] for view in views]
        return [self.head.expert_logits(self.model.extract_feat(view)) for view in inputs]
