import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from toy import COUNTS, toy_config

from ltmm import ClassDistribution
from ltmm.engine.hooks import PostProcessHook
from ltmm.models.post_process import tau_normalize
from ltmm.registry import METRICS, MODELS

SEEN = []


@METRICS.register_module()
class KeepScores(BaseMetric):
    """Keeps the scores of an evaluation in SEEN."""

    def process(self, data_batch, data_samples):
        self.results += [sample['pred_score'] for sample in data_samples]

    def compute_metrics(self, results):
        SEEN.append(torch.stack(results))
        return dict(num=len(results))


HEADS = dict(
    ours=dict(loss=dict(type='CrossEntropyLoss')),
    mmpretrain=dict(type='LinearClsHead', num_classes=3, in_channels=8, _delete_=True),
)


@pytest.fixture(scope='module', params=HEADS)
def trained(request, tmp_path_factory):
    """Head and checkpoint of a model that was trained by cross entropy."""
    folder = tmp_path_factory.mktemp(request.param)
    overrides = {'model.head': HEADS[request.param]}
    Runner.from_cfg(toy_config(folder, **{'train_cfg.max_epochs': 1, **overrides})).train()
    return overrides, str(folder / 'epoch_1.pth')


def scores_of_test(folder, trained, *steps, **options):
    overrides, checkpoint = trained
    cfg = toy_config(folder, **{**overrides, 'load_from': checkpoint, **options})
    cfg.test_evaluator = dict(type='ltmm.KeepScores')
    cfg.custom_hooks.append(dict(type='ltmm.PostProcessHook', steps=list(steps)))
    if not any(MODELS.build(dict(step)).needs_fit for step in steps):  # the rest needs no training set
        for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
            cfg.pop(key)
    runner = Runner.from_cfg(cfg)
    runner.test()
    return SEEN.pop(), runner


def test_logit_adjustment_by_the_prior_of_the_checkpoint(tmp_path, trained):
    plain, _ = scores_of_test(tmp_path / 'plain', trained)
    adjusted, _ = scores_of_test(tmp_path / 'adjusted', trained, dict(type='ltmm.LogitAdjustment', tau=1.0))
    prior = torch.tensor(ClassDistribution(COUNTS).prior).float()
    expected = plain / prior / (plain / prior).sum(1, keepdim=True)
    torch.testing.assert_close(adjusted, expected)


def test_a_second_run_corrects_once(tmp_path, trained):
    first, runner = scores_of_test(tmp_path, trained, dict(type='ltmm.LogitAdjustment', tau=1.0))
    runner.test()
    torch.testing.assert_close(SEEN.pop(), first)


@pytest.mark.parametrize(
    'step',
    [
        dict(type='ltmm.ConformalSets', alpha=0.3),
        dict(type='ltmm.EnsembleTemperatureScaling'),
        dict(type='ltmm.HistogramBinning', num_bins=5),
        dict(type='ltmm.IsotonicCalibration', per_class=True, after_temperature=True),
    ],
    ids=lambda step: step['type'],
)
def test_second_evaluation_fits_again(tmp_path, trained, step):
    counts = {'val_dataloader.dataset.counts': (20, 9, 4)}
    first, runner = scores_of_test(tmp_path, trained, step, **counts)
    correction = next(hook for hook in runner.hooks if isinstance(hook, PostProcessHook)).steps[0]
    state = {name: value.clone() for name, value in correction.state_dict().items()}
    for buffer in correction.buffers():
        if buffer.is_floating_point():
            buffer.fill_(0.5)  # as left by other weights
    runner.test()
    torch.testing.assert_close(SEEN.pop(), first)
    torch.testing.assert_close(dict(correction.state_dict()), state)


def test_tau_norm_sees_the_features_of_any_head(tmp_path, trained):
    scores, runner = scores_of_test(tmp_path, trained, dict(type='ltmm.TauNorm', tau=0.7))
    layer = runner.model.head.fc
    images = next(iter(runner.test_dataloader))
    data = runner.model.data_preprocessor(images, False)
    with torch.no_grad():
        features = runner.model.extract_feat(data['inputs'])[-1]
        expected = (features @ tau_normalize(layer.weight, 0.7).T).softmax(1)
    torch.testing.assert_close(scores[: len(expected)], expected)


def test_corrections_follow_each_other(tmp_path, trained):
    tau, prior = dict(type='ltmm.TauNorm', tau=0.5), dict(type='ltmm.LogitAdjustment', tau=0.5)
    both, _ = scores_of_test(tmp_path / 'both', trained, tau, prior)
    one, _ = scores_of_test(tmp_path / 'one', trained, tau)
    share = torch.tensor(ClassDistribution(COUNTS).prior).float() ** 0.5
    torch.testing.assert_close(both, one / share / (one / share).sum(1, keepdim=True))


def test_class_means_of_the_training_data_without_augmentation(tmp_path, trained):
    scores, runner = scores_of_test(tmp_path, trained, dict(type='ltmm.NearestClassMean', transform='un'))
    layer = next(hook for hook in runner.hooks if isinstance(hook, PostProcessHook)).steps[0].layer
    data = runner.model.data_preprocessor(next(iter(runner.test_dataloader)), False)
    with torch.no_grad():
        torch.testing.assert_close(
            layer(runner.model.extract_feat(data['inputs'])[-1]).softmax(1), scores[: len(data['inputs'])]
        )
    everything = torch.cat([b['inputs'] for b in runner.test_dataloader])  # the toy test set is its training set
    with torch.no_grad():
        processed = runner.model.data_preprocessor(dict(inputs=everything), False)['inputs']
        features = runner.model.extract_feat(processed)[-1]
    torch.testing.assert_close(layer.class_means[0], features[: COUNTS[0]].mean(0), rtol=1e-4, atol=1e-5)


def test_training_never_sees_a_correction(tmp_path, trained):
    overrides, _ = trained
    checkpoints = []
    for name in ('plain', 'corrected'):
        cfg = toy_config(tmp_path / name, **{**overrides, 'train_cfg.max_epochs': 2})
        if name == 'corrected':
            steps = [dict(type='ltmm.TauNorm', tau=2.0), dict(type='ltmm.TemperatureScaling', temperature=3.0)]
            cfg.custom_hooks.append(dict(type='ltmm.PostProcessHook', steps=steps))
        Runner.from_cfg(cfg).train()
        checkpoints.append(torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True)['state_dict'])
    assert checkpoints[0].keys() == checkpoints[1].keys()
    torch.testing.assert_close(*checkpoints, rtol=0, atol=0)


def test_checkpoint_without_class_distribution(tmp_path, trained):
    overrides, checkpoint = trained
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict'] = {k: v for k, v in content['state_dict'].items() if 'class_distribution' not in k}
    content['meta'].pop('class_distribution', None)
    torch.save(content, tmp_path / 'bare.pth')
    bare = overrides, str(tmp_path / 'bare.pth')
    with pytest.raises(RuntimeError, match=r'LogitAdjustment needs the class distribution.*class_counts=\[...\]'):
        scores_of_test(tmp_path / 'bare', bare, dict(type='ltmm.LogitAdjustment'))
    given, _ = scores_of_test(tmp_path / 'given', bare, dict(type='ltmm.LogitAdjustment', class_counts=list(COUNTS)))
    known, _ = scores_of_test(tmp_path / 'known', trained, dict(type='ltmm.LogitAdjustment'))
    torch.testing.assert_close(given, known)
    sets = dict(type='ltmm.ConformalSets', score='softmax')  # without a prior
    scores_of_test(tmp_path / 'sets', bare, sets, **{'val_dataloader.dataset.counts': (20, 9, 4)})


def test_wrong_head_is_refused_before_the_test(tmp_path, trained):
    _, checkpoint = trained
    classifier = dict(type='ltmm.NormedLinear', scale=16)
    head = ConfigDict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=8, classifier=classifier)
    cfg = toy_config(tmp_path, load_from=checkpoint)
    cfg.model.head = head
    cfg.custom_hooks.append(dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.TauNorm')]))
    with pytest.raises(TypeError, match='TauNorm needs a head that ends in one nn.Linear'):
        Runner.from_cfg(cfg).test()


def test_wrong_steps_are_refused():
    steps = [dict(type='ltmm.LogitAdjustment'), dict(type='ltmm.TauNorm')]
    with pytest.raises(ValueError, match='TauNorm computes new logits, so it has to be first'):
        PostProcessHook(steps)
    with pytest.raises(ValueError, match='ConformalSets has to be last'):
        PostProcessHook([dict(type='ltmm.ConformalSets'), dict(type='ltmm.LogitAdjustment')])
    with pytest.raises(TypeError, match='ScaledLinear is no correction'):
        PostProcessHook([dict(type='ltmm.ScaledLinear', in_features=2, out_features=2)])


def test_class_means_need_training_data(tmp_path, trained):
    overrides, checkpoint = trained
    cfg = toy_config(tmp_path, **overrides, load_from=checkpoint)
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key)
    cfg.custom_hooks.append(dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.NearestClassMean')]))
    with pytest.raises(ValueError, match='fitted on train_dataloader, which the config lacks'):
        Runner.from_cfg(cfg).test()
