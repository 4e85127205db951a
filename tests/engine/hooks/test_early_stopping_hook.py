import torch
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from toy import toy_config

from ltmm.registry import METRICS

FIGURES = [1.0, 3.0, 2.0, 3.0, 1.0, 9.0]  # of the epochs


@METRICS.register_module(force=True)
class ScriptedMetric(BaseMetric):
    """Figures that are known beforehand."""

    default_prefix = 'scripted'

    def __init__(self, skip=0):
        super().__init__()
        self.figures = iter(FIGURES[skip:])

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(figure=next(self.figures))


def config(tmp_path, **overrides):
    cfg = toy_config(tmp_path, **{'train_cfg.max_epochs': 6, 'val_evaluator': dict(type='ltmm.ScriptedMetric')})
    cfg.default_hooks.checkpoint.update(save_best='scripted/figure', rule='greater', max_keep_ckpts=-1)
    hook = dict(type='ltmm.EarlyStoppingHook', monitor='scripted/figure', rule='greater', patience=3, min_delta=0)
    cfg.custom_hooks.append(hook)
    cfg.merge_from_dict(overrides)
    return cfg


def test_training_stops_and_the_best_epoch_is_kept(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, **{'custom_hooks.10.patience': 1}))
    runner.train()
    assert runner.epoch == 3
    assert [path.name for path in tmp_path.glob('best_*')] == ['best_scripted_figure_epoch_2.pth']


def test_resumed_training_remembers_the_best(tmp_path):
    first = Runner.from_cfg(config(tmp_path, **{'custom_hooks.10.min_delta': 0.1}))
    first.train()
    assert first.epoch == 5  # 3 of epoch 2 stands for three validations
    state = torch.load(tmp_path / 'epoch_4.pth', weights_only=True)['message_hub']['runtime_info']['early_stopping']
    assert state == [3.0, 1]  # of the validations before it was written
    overrides = {'custom_hooks.10.min_delta': 0.1, 'custom_hooks.10.patience': 2, 'val_evaluator.skip': 4}
    resumed = Runner.from_cfg(config(tmp_path, load_from=str(tmp_path / 'epoch_4.pth'), resume=True, **overrides))
    resumed.train()
    assert resumed.epoch == 5


def test_a_test_builds_no_training_set(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, test_evaluator=dict(type='ltmm.ScriptedMetric')))
    assert runner.test() == {'scripted/figure': 1.0}
    assert isinstance(runner._train_loop, dict)
