"""Two processes equal one with the doubled batch, also where one goes on with what the other has begun."""

import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config
from toy_processes import free_port, run_program


@pytest.mark.slow
def test_two_gloo_processes_equal_one_with_the_doubled_batch(tmp_path):
    configs = {name: toy_config(tmp_path / name, **{'train_cfg.max_epochs': 2}) for name in ('one', 'two', 'resumed')}
    for name, cfg in configs.items():  # without batch normalisation and augmentation the mathematics is the same
        cfg.train_dataloader.dataset.pipeline = cfg.test_dataloader.dataset.pipeline
        cfg.train_dataloader.sampler = dict(type='ltmm.ClassAwareSampler')
        cfg.train_dataloader.batch_size = 8 if name == 'two' else 16
        cfg.model.backbone = dict(type='ltmm.FlatPixels')
        cfg.model.head.in_channels = 192
        cfg.model.head.loss = dict(type='ltmm.ReweightedLoss', loss=dict(type='CrossEntropyLoss'), kind='inverse')
    Runner.from_cfg(configs['one']).train()
    configs['two'].dump(tmp_path / 'two.py')
    run = run_program('tools/dist_train.sh', tmp_path / 'two.py', 2, PORT=free_port())
    assert run.returncode == 0, run.stderr[-3000:]
    configs['resumed'].merge_from_dict(dict(resume=True, load_from=str(tmp_path / 'two/epoch_1.pth')))
    Runner.from_cfg(configs['resumed']).train()
    assert 'by 2 process' in ''.join(path.read_text() for path in (tmp_path / 'resumed').rglob('*.log'))
    one, two, resumed = (torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True) for name in configs)
    for other in (two, resumed):
        torch.testing.assert_close(one['state_dict'], other['state_dict'], rtol=1e-4, atol=1e-6)
        assert one['meta']['iter'] == other['meta']['iter']
        assert one['param_schedulers'] == other['param_schedulers']
