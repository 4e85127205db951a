import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import Runner
from toy import Stopped, toy_config
from toy_processes import run_on_two_ranks

from ltmm.engine.hooks.meta_sampler_hook import look_ahead, meta_loss
from ltmm.registry import MODELS

COUNTS, B, M, D = [6, 3, 1], 5, 4, 2
LABEL = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))  # of N = 10 samples
OPTIONS = [
    dict(),
    dict(momentum=0.9, weight_decay=0.1),
    dict(momentum=0.5, nesterov=True),
    dict(momentum=0.9, dampening=0.3),
]


def build_head(loss: dict, **kwargs) -> torch.nn.Module:
    torch.manual_seed(0)
    head = MODELS.build(
        dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=D, loss=loss, class_counts=COUNTS, **kwargs)
    )
    return head.double()


def batches() -> dict[str, torch.Tensor]:
    """Features of all N samples, Gumbel noise of B draws, and a meta batch."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(B, len(LABEL), generator=generator, dtype=torch.float64).log().neg().log().neg()
    features, meta_features = (torch.randn(n, D, generator=generator, dtype=torch.float64) for n in (len(LABEL), M))
    return dict(noise=noise, features=features, meta_features=meta_features, meta_label=torch.tensor([0, 1, 2, 2]))


def gradient(head: torch.nn.Module, optimizer: torch.optim.SGD, rate_logits: torch.Tensor) -> torch.Tensor:
    """The gradient of :func:`meta_loss` by the rates, for the draws that follow from the noise."""
    data = batches()
    noise = data.pop('noise')
    drawn = (F.logsigmoid(rate_logits[LABEL]) + noise).argmax(1)
    class_noise = torch.stack([noise[:, LABEL == c].logsumexp(1) for c in range(3)], dim=1)
    draws = LABEL[drawn], noise.gather(1, drawn[:, None])[:, 0], class_noise
    loss = meta_loss(head, optimizer, rate_logits, draws, data.pop('features')[drawn], LABEL[drawn], **data)
    return torch.autograd.grad(loss, rate_logits)[0]


def naive_gradient(head: torch.nn.Module, lr: float, rate_logits: torch.Tensor) -> torch.Tensor:
    """The same with the one-hot matrix (B, N), for plain SGD."""
    data = batches()
    soft = (F.logsigmoid(rate_logits[LABEL]) + data['noise']).softmax(1)  # (B, N)
    hard = F.one_hot(soft.argmax(1), len(LABEL)).double()
    one_hot = hard - soft.detach() + soft
    weight, bias = head.fc.parameters()
    losses = head.loss_module(data['features'] @ weight.T + bias, LABEL, reduction_override='none')  # (N,)
    loss = (one_hot * hard * losses).sum(1).mean()
    d_weight, d_bias = torch.autograd.grad(loss, (weight, bias), create_graph=True)
    logits = data['meta_features'] @ (weight - lr * d_weight).T + bias - lr * d_bias
    return torch.autograd.grad(F.cross_entropy(logits, data['meta_label']), rate_logits)[0]


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='ltmm.BalancedSoftmaxLoss', class_counts=COUNTS),
        dict(type='ltmm.SoftmaxFocalLoss', gamma=2.0),
        dict(type='ltmm.ClassBalancedLoss', loss_type='softmax', beta=0.9, class_counts=COUNTS),
        dict(type='ltmm.ClassBalancedLoss', loss_type='softmax', beta=0.9, class_counts=COUNTS, normalize='weight_sum'),
    ],
    ids=['balanced_softmax', 'focal', 'class_balanced', 'weight_sum'],
)
def test_gradient_equals_that_of_the_one_hot_matrix(loss):
    head = build_head(loss)
    rate_logits = torch.tensor([-0.5, 0.3, 1.0], dtype=torch.float64, requires_grad=True)
    got = gradient(head, torch.optim.SGD(head.parameters(), lr=2.0), rate_logits)
    torch.testing.assert_close(got, naive_gradient(head, 2.0, rate_logits))
    assert got.abs().min() > 0
    assert head.fc.weight.grad is None


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_look_ahead_is_the_next_step_of_the_optimizer(options):
    fc = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(fc.parameters(), lr=0.1, **options)
    for step in range(3):
        gradients = tuple(torch.full_like(p, step + 1.0) for p in fc.parameters())
        expected = look_ahead(optimizer, dict(fc.named_parameters()), gradients)
        for parameter, value in zip(fc.parameters(), gradients):
            parameter.grad = value
        optimizer.step()
        torch.testing.assert_close(dict(fc.named_parameters()), expected)


@pytest.mark.parametrize(
    ('loss', 'kwargs'),
    [
        (dict(type='mmpretrain.CrossEntropyLoss'), {}),
        (dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, num_classes=3), {}),
        (dict(type='ltmm.SoftmaxFocalLoss', gamma=2.0), {}),
        (dict(type='ltmm.ClassBalancedLoss', loss_type='focal', beta=0.9, gamma=1.0, class_counts=COUNTS), {}),
        (dict(type='ltmm.LogitAdjustmentLoss', class_counts=[6, 3, 0]), {}),
        (dict(type='ltmm.LDAMLoss', class_counts=COUNTS), dict(classifier=dict(type='ltmm.NormedLinear'))),
    ],
    ids=lambda value: value.get('type'),
)
def test_any_loss_of_logits_and_labels(loss, kwargs):
    head = build_head(loss, **kwargs)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
    got = gradient(head, optimizer, torch.zeros(3, dtype=torch.float64, requires_grad=True))
    assert got.isfinite().all()
    assert got.abs().max() > 0


def test_empty_class():
    data = batches()
    head = build_head(dict(type='ltmm.BalancedSoftmaxLoss', class_counts=[8, 2, 0]))
    draws = torch.tensor([0, 1, 0]), torch.tensor([0.3, 0.1, 0.4]), torch.tensor([[1, 2, float('-inf')]] * 3)
    rate_logits = torch.zeros(3, requires_grad=True)
    meta = data['meta_features'], data['meta_label']
    loss = meta_loss(
        head, torch.optim.SGD(head.parameters(), lr=0.1), rate_logits, draws, data['features'][:3], draws[0], *meta
    )
    (got,) = torch.autograd.grad(loss, rate_logits)
    assert got.isfinite().all()
    assert got[2] == 0


def config(folder, hook: dict | None = None, **overrides):
    cfg = toy_config(folder, **{'train_cfg.max_epochs': 2, **overrides})
    cfg.train_dataloader.sampler = dict(type='ltmm.MetaSampler')
    cfg.custom_hooks.append(dict(type='ltmm.MetaSamplerHook', lr=0.1, **(hook or {})))
    return cfg


def test_resumes_exactly_and_is_loaded_by_a_test(tmp_path):
    Runner.from_cfg(config(tmp_path / 'straight')).train()
    stopped = config(tmp_path / 'stopped')
    stopped.custom_hooks.append(dict(type='ltmm.StopHook', at_iter=10))  # 8 iterations an epoch
    with pytest.raises(Stopped):
        Runner.from_cfg(stopped).train()
    Runner.from_cfg(config(tmp_path / 'stopped', resume=True, experiment_name='resumed')).train()
    straight, resumed = (
        torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True) for name in ('straight', 'stopped')
    )
    torch.testing.assert_close(straight['state_dict'], resumed['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(straight['optimizer']['state'], resumed['optimizer']['state'], rtol=0, atol=0)
    assert straight['state_dict']['class_rates.num_updates'] == 16
    assert straight['state_dict']['class_rates.logits'].abs().min() > 0

    tested = config(tmp_path / 'test', load_from=str(tmp_path / 'straight/epoch_2.pth'), experiment_name='test')
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        tested[key] = None
    tester = Runner.from_cfg(tested)
    tester.test()
    torch.testing.assert_close(tester.model.class_rates.logits, straight['state_dict']['class_rates.logits'])


def test_small_meta_set_is_repeated_under_mixed_precision(tmp_path):
    meta = dict(
        batch_size=3,
        num_workers=0,
        collate_fn=dict(type='default_collate'),
        sampler=dict(type='ltmm.ClassAwareSampler', num_samples_per_class=1),
    )
    cfg = config(tmp_path, dict(init_power=0.5), **{'train_cfg.max_epochs': 1})
    cfg.custom_hooks[-1]['dataloader'] = dict(meta, dataset=dict(cfg.val_dataloader.dataset, counts=(2, 2, 3)))
    cfg.optim_wrapper.type = 'ltmm.CPUAmpOptimWrapper'
    runner = Runner.from_cfg(cfg)
    runner.train()
    rates = runner.model.class_rates
    assert rates.num_updates == 8
    assert rates.logits.dtype == torch.float64
    assert rates.logits.isfinite().all()
    torch.testing.assert_close(runner.train_dataloader.sampler.rate, rates.logits.sigmoid().numpy())


def test_trains_with_an_empty_class(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, **{'train_dataloader.dataset.counts': (9, 3, 0)}))
    runner.train()
    logits = runner.model.class_rates.logits
    assert logits.isfinite().all()
    assert (logits[:2] != 0).all()
    assert logits[2] == 0  # never drawn


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({'train_dataloader.sampler': dict(type='DefaultSampler')}, 'but got DefaultSampler in EpochBasedTrainLoop'),
        ({'train_cfg': dict(_delete_=True, by_epoch=False, max_iters=9)}, 'MetaSampler in IterBasedTrainLoop'),
        ({'optim_wrapper.optimizer': dict(_delete_=True, type='Adam')}, 'by SGD, but the optimizer is Adam'),
        ({'model.head': dict(_delete_=True, type='LinearClsHead', num_classes=3, in_channels=8)}, 'got LinearClsHead'),
    ],
    ids=['sampler', 'loop', 'optimizer', 'head'],
)
def test_what_it_needs(tmp_path, overrides, message):
    cfg = config(tmp_path)
    cfg.merge_from_dict(overrides)
    with pytest.raises((TypeError, ValueError), match=message):
        Runner.from_cfg(cfg).train()


@pytest.mark.slow
def test_two_processes_equal_one_with_the_doubled_batch(tmp_path):
    for name, batch_size in dict(one=16, two=8).items():
        cfg = config(tmp_path / name)
        cfg.train_dataloader.batch_size = batch_size
        cfg.train_dataloader.dataset.pipeline = cfg.test_dataloader.dataset.pipeline
        cfg.model.backbone = dict(type='ltmm.FlatPixels')
        cfg.model.head.in_channels = 192
        if name == 'one':
            Runner.from_cfg(cfg).train()
        else:
            cfg.dump(tmp_path / 'two.py')
            run = run_on_two_ranks('tools/train.py', tmp_path / 'two.py')
            assert run.returncode == 0, run.stderr[-3000:]
    one, two = (torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True)['state_dict'] for name in ('one', 'two'))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
