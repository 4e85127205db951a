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


@pytest.mark.parametrize(
    'option', ['image_size=0', 'image_size=-8', 'image_size=96.5', 'image_size=big', 'image_scale=(0,9)']
)
def test_size_that_is_no_pixels(tmp_path, option):
    toy_config(tmp_path / 'run').dump(tmp_path / 'cfg.py')
    key = option.partition('=')[0]
    with pytest.raises(InputError, match=rf'Expected `{key}` to be int >= 1, but got '):
        load_config(common_parser('').parse_args([str(tmp_path / 'cfg.py'), '--cfg-options', option]))


def test_size_in_pixels(tmp_path):
    toy_config(tmp_path / 'run').dump(tmp_path / 'cfg.py')
    options = ['--cfg-options', 'image_size=96', 'image_scale=(1333,800)']
    cfg = load_config(common_parser('').parse_args([str(tmp_path / 'cfg.py'), *options]))
    assert (cfg.image_size, tuple(cfg.image_scale)) == (96, (1333, 800))
