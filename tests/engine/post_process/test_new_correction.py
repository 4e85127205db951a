"""A new kind of correction needs no change of the package: class variances, validation features, L-BFGS."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from toy import toy_config

from ltmm.engine.hooks import PostProcessHook
from ltmm.engine.post_process import build_post_processor, post_process
from ltmm.models.post_process import PostProcess, linear_layer
from ltmm.registry import MODELS

SEEN = {}


def weighted_nll(weight, logits, label, log_t):
    nll = F.cross_entropy(logits / log_t.exp(), label, reduction='none')
    return (weight * nll).mean() + 0.01 * log_t**2  # the toy model alone would take any temperature


@MODELS.register_module()
class WeightedTemperature(PostProcess):
    """Temperature by importance-weighted likelihood; rare classes borrow mean and variance of the frequent ones.

    Args:
        num_head: Number of frequent classes, those with the lowest labels.
        alpha: Share of a rare class in its own Gaussian.
        temperature: Fitted if None.
    """

    def __init__(self, num_head=1, alpha=0.5, temperature=None):
        super().__init__()
        self.num_head, self.alpha, self.temperature = num_head, alpha, temperature
        self.needs_fit = temperature is None

    def fit(self, train, val):
        mean, std = train.class_means(), train.class_variances().sqrt() + 0.3
        distance = torch.cdist(mean, mean[: self.num_head]) ** 2 + torch.cdist(std, std[: self.num_head]) ** 2
        attention = (-distance / mean.size(1) ** 0.5).softmax(1)
        mixed = [(1 - self.alpha) * attention @ x[: self.num_head] + self.alpha * x for x in (mean, std)]
        features, label = val.features.double(), val.label
        target, source = (
            torch.distributions.Normal(m[label], s[label]).log_prob(features).sum(1) for m, s in (mixed, (mean, std))
        )
        weight = torch.where(label < self.num_head, 1.0, (target - source).exp().clamp(0.01, 100))
        logits, log_t = val.logits.double(), torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([log_t], max_iter=100, tolerance_grad=1e-12, line_search_fn='strong_wolfe')

        def closure():
            optimizer.zero_grad()
            loss = weighted_nll(weight, logits, label, log_t)
            loss.backward()
            return loss

        optimizer.step(closure)
        self.temperature = log_t.exp().item()
        SEEN.update(weight=weight, logits=logits, label=label)

    def forward(self, cls_score, features, head):
        return cls_score / self.temperature

    def settings(self):
        return dict(num_head=self.num_head, alpha=self.alpha, temperature=self.temperature)

    @torch.no_grad()
    def write(self, head):
        layer = linear_layer(head)
        for parameter in layer.parameters() if layer else ():
            parameter.div_(self.temperature)
        return layer is not None


@pytest.fixture(scope='module', params=['linear', 'cosine'])
def trained(request, tmp_path_factory):
    """Config and checkpoint."""
    folder = tmp_path_factory.mktemp(request.param)
    head = dict(loss=dict(type='CrossEntropyLoss'))
    if request.param == 'cosine':
        head['classifier'] = dict(type='ltmm.NormedLinear', scale=16.0)
    cfg = toy_config(folder, **{'model.head': head, 'train_cfg.max_epochs': 1})
    cfg.train_dataloader.dataset = ConfigDict(
        type='ltmm.LongTailed', imbalance_factor=8, dataset={**cfg.train_dataloader.dataset, 'counts': (48, 48, 48)}
    )
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.CalibrationMetric')
    Runner.from_cfg(cfg).train()
    return cfg, str(folder / 'epoch_1.pth')


def test_fit_evaluate_and_write(trained, tmp_path):
    cfg, checkpoint = trained
    step = dict(type='ltmm.WeightedTemperature', num_head=2, alpha=0.9)
    (path,) = post_process(cfg, checkpoint, step, tmp_path, 'new', dict(val_images=12))
    weight, logits, label = SEEN['weight'], SEEN['logits'], SEEN['label']
    grid = torch.arange(-4, 6, 0.001, dtype=torch.float64).exp()
    nll = [weighted_nll(weight, logits, label, t.log()) for t in grid]
    best = grid[torch.stack(nll).argmin()].item()
    assert len(weight.unique()) > 2
    if path.suffix == '.py':  # the hook takes the fitted temperature
        written = Config.fromfile(path)
        (step,) = written.custom_hooks[-1].steps
        assert step.temperature == pytest.approx(best, rel=2e-3)
    else:
        written = Config(cfg.to_dict())
        written.load_from = str(path)
        meta = torch.load(path, weights_only=True)['meta']['post_process']
        assert meta['temperature'] == pytest.approx(best, rel=2e-3)
    written.update(work_dir=str(tmp_path / 'test'), experiment_name=path.stem)
    _, after = build_post_processor(cfg, checkpoint, dict(type='ltmm.WeightedTemperature', temperature=best)).evaluate()
    assert Runner.from_cfg(written).test()['calibration/ece'] == pytest.approx(100 * after.ece, abs=0.5)


def test_hook_fits_it_before_a_test(trained, tmp_path):
    cfg, checkpoint = trained
    cfg = Config(cfg.to_dict())
    cfg.update(work_dir=str(tmp_path), load_from=checkpoint, experiment_name=tmp_path.name)
    cfg.custom_hooks.append(dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.WeightedTemperature')]))
    runner = Runner.from_cfg(cfg)
    runner.test()
    (step,) = next(hook.steps for hook in runner.hooks if isinstance(hook, PostProcessHook))
    processor = build_post_processor(trained[0], checkpoint, dict(type='ltmm.WeightedTemperature'))
    processor.fit()
    assert step.temperature == pytest.approx(processor.step.temperature, rel=1e-6)
