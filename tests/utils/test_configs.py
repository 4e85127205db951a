import pytest
from toy import toy_config

from ltmm.utils.configs import load_config
from ltmm.utils.errors import InputError
from ltmm.utils.parsers import common_parser


def test_scope_of_an_external_base_is_dropped(tmp_path):
    toy_config(tmp_path / 'run').dump(tmp_path / 'cfg.py')
    (tmp_path / 'new.py').write_text("_base_ = 'cfg.py'\ntrain_dataloader = dict(_scope_='ltmm')\n")
    cfg = load_config(common_parser('').parse_args([str(tmp_path / 'new.py')]))
    assert '_scope_' not in cfg.train_dataloader
    assert cfg.train_dataloader.batch_size == 8


@pytest.mark.parametrize(
    'name, message',
    [
        ('lt/ce.py', r'ce.py has no `model`'),
        ('lt/c.py', r'There is no config .*c.py. Did you mean .*lt/ce.py\?'),
        ('l/ce.py', r'Did you mean .*lt/ce.py\?'),
    ],
)
def test_config_that_cannot_be_run(tmp_path, name, message):
    (tmp_path / 'lt').mkdir()
    (tmp_path / 'lt' / 'ce.py').touch()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_config(common_parser('').parse_args([str(tmp_path / name)]))


def config_with_references(tmp_path, *options):
    """Load a config that refers to some of its values, with options of the command line."""
    toy_config(tmp_path / 'run').dump(tmp_path / 'cfg.py')
    lines = ["_base_ = 'cfg.py'", 'image_size = 96', 'image_scale = 96', 'max_epochs = 4', 'lr = 0.1', 'patience = 3']
    lines.append("train_cfg = dict(max_epochs='${max_epochs}')")
    lines.append("optim_wrapper = dict(optimizer=dict(lr='${lr}'))")
    lines.append("sizes = ['${image_size}', '${image_scale}']")  # patience is a value of the user's own
    (tmp_path / 'new.py').write_text('\n'.join(lines))
    args = [str(tmp_path / 'new.py'), *(['--cfg-options', *options] if options else [])]
    return load_config(common_parser('').parse_args(args))


@pytest.mark.parametrize(
    'option, condition',
    [
        *((f'image_size={value}', 'int >= 1') for value in ('0', '-8', '96.5', 'big')),
        ('image_scale=(0,9)', 'int >= 1'),
        ('max_epochs=0', 'int >= 1'),
        ('max_epochs=2.5', 'int >= 1'),
        ('lr=abc', '> 0'),
        ('lr=-0.1', '> 0'),
    ],
)
def test_value_that_cannot_be_used(tmp_path, option, condition):
    with pytest.raises(InputError, match=rf'Expected `{option.partition("=")[0]}` to be {condition}, but got '):
        config_with_references(tmp_path, option)


def test_values(tmp_path):
    cfg = config_with_references(tmp_path, 'image_size=96', 'image_scale=(1333,800)', 'max_epochs=2', 'patience=0')
    assert cfg.sizes == [96, (1333, 800)]
    assert cfg.train_cfg.max_epochs == 2
    assert cfg.patience == 0  # nothing refers to it


@pytest.mark.parametrize(
    'option, hint',
    [
        ('thresholds=auto', 'Nothing would read it. Write it with all its keys'),
        ('max_epoch=3', r'Did you mean max_epochs\?'),
        ('modle.head.num_classes=3', r'Did you mean model\?'),
    ],
)
def test_option_that_nothing_reads(tmp_path, option, hint):
    with pytest.raises(InputError, match=f'the config has no .*{hint}'):
        config_with_references(tmp_path, option)


def test_option_of_mmengine_that_the_config_lacks(tmp_path):
    assert config_with_references(tmp_path, 'auto_scale_lr.base_batch_size=256').auto_scale_lr.base_batch_size == 256
