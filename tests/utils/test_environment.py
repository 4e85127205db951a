import configparser
import importlib.util
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import mmcv
import mmpretrain.utils.dependency  # noqa: F401
import pytest
from packaging.specifiers import SpecifierSet
from toy import ROOT

from ltmm.utils import environment
from ltmm.utils.collect_env import collect_env
from ltmm.utils.environment import EnvironmentProblem, check_environment, mmdet_is_usable, provide_cache_folder

STAND_IN = Path(environment.__file__).with_name('mmcv_ops.py')
needs_mmdet = pytest.mark.skipif(not mmdet_is_usable(), reason='mmdet is not installed')


@pytest.fixture
def no_module(monkeypatch):
    """A function that hides a module."""
    return lambda name: monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def broken_module(monkeypatch):
    """A function that makes the import of a module fail."""

    def break_it(name, error):
        real = environment.import_module

        def import_module(wanted):
            if wanted == name:
                raise error
            return real(wanted)

        monkeypatch.setattr(environment, 'import_module', import_module)

    return break_it


def problem(detection):
    """Return the message of check_environment(), which is one line."""
    with pytest.raises(EnvironmentProblem) as caught:
        check_environment(detection)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('detection', [False, pytest.param(True, marks=needs_mmdet)])
def test_complete_environment(detection):
    check_environment(detection)


@pytest.mark.parametrize('module', ['torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain'])
def test_missing_package_of_classification(monkeypatch, no_module, module):
    monkeypatch.setattr(environment.metadata, 'packages_distributions', dict)
    no_module(module)
    name = module if module.startswith('torch') else f'onedl-{module}'
    pattern = rf"{module} is not installed. Install it: python\S* -m pip install --upgrade '{name}[<>=.,\d]+'$"
    assert re.match(pattern, problem(detection=False))


def test_missing_extra(no_module):
    environment.check_extra('report', 'torch')
    no_module('mlflow')
    message = r'mlflow is not installed. Install the extra tracking: python\S* -m pip install "ltmm\[tracking\]"$'
    with pytest.raises(EnvironmentProblem, match=message):
        environment.check_extra('tracking', 'torch', 'mlflow')
    no_module('wandb')
    with pytest.raises(EnvironmentProblem, match='^mlflow and wandb are not installed'):
        environment.check_extra('tracking', 'mlflow', 'wandb')


def test_extras_that_the_code_names_exist():
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    code = [path.read_text() for folder in ('ltmm', 'tools') for path in (ROOT / folder).rglob('*.py')]
    named = set(re.findall(r"""check_extra\(\s*['"]([\w-]+)""", '\n'.join(code)))
    assert named <= set(config['options.extras_require'])


@needs_mmdet
@pytest.mark.parametrize('module', ['mmdet', 'pycocotools', 'lvis'])
def test_missing_package_of_detection(no_module, module):
    no_module(module)
    check_environment(detection=False)
    assert problem(detection=True).startswith(f'{module} is not installed.')


@pytest.mark.parametrize('module', ['torch', 'mmengine', 'mmcv', 'mmpretrain'])
@pytest.mark.parametrize('version', ['0.0.1', '99.0'])
def test_version_out_of_range(monkeypatch, module, version):
    monkeypatch.setattr(sys.modules[module], '__version__', version)
    assert re.match(rf'Expected {module} [<>=.,\d]+, but found {version}\. Install it: ', problem(False))


def test_torch_with_a_local_version_is_in_range(monkeypatch):
    monkeypatch.setattr(sys.modules['torch'], '__version__', '2.11.0+cu130')
    check_environment(detection=False)


@pytest.mark.parametrize(
    'module, error, detection, message',
    [
        (
            'torchvision',
            RuntimeError('operator torchvision::nms does not exist'),
            False,
            r'torchvision is installed but cannot be imported \(RuntimeError: operator torchvision::nms.*'
            r"--upgrade 'torch[<>=.,\d]+' 'torchvision[<>=.,\d]+'$",
        ),
        pytest.param(
            'mmdet',
            AssertionError('MMCV==2.3.6 is used but incompatible.'),
            True,
            r'mmdet is installed but cannot be imported \(AssertionError: MMCV==2.3.6 is used but incompatible',
            marks=needs_mmdet,
        ),
    ],
)
def test_package_that_cannot_be_imported(broken_module, module, error, detection, message):
    broken_module(module, error)
    assert re.match(message, problem(detection))


def test_ops_that_were_compiled_for_another_torch(monkeypatch, broken_module):
    monkeypatch.setattr(environment, 'has_compiled_ops', lambda: True)
    broken_module('mmcv._ext', ImportError('_ext.so: undefined symbol: _ZN3c10'))
    check_environment(detection=False)
    pattern = r"mmcv's ops were compiled for another torch \(ImportError: _ext.so: undef.* pip install .* 'onedl-mmcv"
    assert re.match(pattern, problem(detection=True))


def test_compiled_ops_go_before_the_stand_in(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    monkeypatch.setattr(mmcv, '__path__', [str(tmp_path)])
    monkeypatch.setattr(mmcv.__spec__, 'submodule_search_locations', mmcv.__path__)
    assert Path(importlib.util.find_spec('mmcv._ext').origin) == STAND_IN
    assert not environment.has_compiled_ops()
    (tmp_path / '_ext.py').touch()
    importlib.invalidate_caches()
    assert Path(importlib.util.find_spec('mmcv._ext').origin) == tmp_path / '_ext.py'
    assert environment.has_compiled_ops()


@pytest.mark.parametrize('transformers, multimodal', [('4.57.0', True), ('5.24.0', False), (None, False)])
def test_mmpretrain_beside_transformers(monkeypatch, transformers, multimodal):
    def distribution(name):
        if name == 'transformers' and transformers is None:
            raise environment.metadata.PackageNotFoundError(name)
        return SimpleNamespace(version=transformers if name == 'transformers' else '2.0.11')

    monkeypatch.setattr(environment.metadata, 'distribution', distribution)
    monkeypatch.setattr(sys, 'meta_path', sys.meta_path.copy())
    environment.provide_mmpretrain_beside_transformers()
    monkeypatch.delitem(sys.modules, 'mmpretrain.utils.dependency')
    assert importlib.import_module('mmpretrain.utils.dependency').WITH_MULTIMODAL is multimodal


WORKERS = """
import ltmm
from mmcv.ops import nms  # ltmm comes first
from torch.utils.data import DataLoader, Dataset

class Ops(Dataset):
    def __len__(self):
        return 1
    def __getitem__(self, i):
        import mmcv._ext
        return mmcv._ext.__file__

if __name__ == '__main__':
    for context in ('fork', 'spawn'):
        print(*DataLoader(Ops(), num_workers=1, multiprocessing_context=context))
"""


@pytest.mark.slow
def test_mmdet_imported_before_ltmm(monkeypatch):
    monkeypatch.setattr(sys, 'meta_path', [item for item in sys.meta_path if item is not environment._OpsFinder])
    monkeypatch.setitem(sys.modules, 'mmdet.models.dense_heads', None)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        monkeypatch.setitem(sys.modules, 'mmcv.ops', None)
        environment.provide_mmcv_ops()  # mmcv has ops
    sys.meta_path.remove(environment._OpsFinder)
    monkeypatch.delitem(sys.modules, 'mmcv.ops')
    with pytest.warns(UserWarning, match='Import ltmm first'):
        environment.provide_mmcv_ops()


def test_workers_have_the_ops(tmp_path):
    (tmp_path / 'script.py').write_text(WORKERS)
    result = subprocess.run([sys.executable, tmp_path / 'script.py'], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-2:] == [str([importlib.util.find_spec('mmcv._ext').origin])] * 2


@pytest.fixture
def unwritable_home(tmp_path, monkeypatch):
    """A user whose home is not writable, also not for root; returns the folder for temporary files."""
    (tmp_path / 'file').touch()
    (tmp_path / 'tmp').mkdir()
    monkeypatch.setattr(environment.tempfile, 'tempdir', str(tmp_path / 'tmp'))
    for name in ('XDG_CACHE_HOME', 'MPLCONFIGDIR'):
        monkeypatch.setenv(name, '')  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setenv('HOME', str(tmp_path / 'file' / 'home'))
    return tmp_path / 'tmp'


def test_caches_move_where_the_home_is_not_writable(unwritable_home, monkeypatch):
    provide_cache_folder()
    own = unwritable_home / f'ltmm-cache-{os.getuid()}'
    assert os.environ['XDG_CACHE_HOME'] == os.environ['MPLCONFIGDIR'] == str(own)
    assert own.stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv('XDG_CACHE_HOME')
    provide_cache_folder()
    assert os.environ['XDG_CACHE_HOME'] == str(own)


@pytest.mark.parametrize('taken_by', ['folder', 'link', 'file'])
def test_cache_of_somebody_else_is_not_used(unwritable_home, taken_by):
    own = unwritable_home / f'ltmm-cache-{os.getuid()}'
    if taken_by == 'folder':
        own.mkdir(), own.chmod(0o777)
    elif taken_by == 'link':
        own.symlink_to(unwritable_home)
    else:
        own.touch()
    provide_cache_folder()
    assert Path(os.environ['XDG_CACHE_HOME']).stat().st_mode & 0o777 == 0o700
    assert os.environ['XDG_CACHE_HOME'] != str(own)


def test_user_without_a_home_gets_no_folder_called_tilde(unwritable_home, monkeypatch):
    monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
    provide_cache_folder()
    assert os.environ['XDG_CACHE_HOME'].startswith(str(unwritable_home))


def test_caches_stay_in_a_writable_home(unwritable_home, monkeypatch):
    monkeypatch.setenv('HOME', str(unwritable_home))
    provide_cache_folder()
    assert 'XDG_CACHE_HOME' not in os.environ and list(unwritable_home.iterdir()) == []


def test_mmdet_is_not_usable_where_it_is_missing_or_breaks(no_module, broken_module):
    broken_module('mmdet.models', ImportError('libGL.so.1: cannot open shared object file'))
    assert not mmdet_is_usable.__wrapped__()
    no_module('mmdet')
    assert not mmdet_is_usable.__wrapped__()


def test_remedy_names_the_installed_distribution(monkeypatch):
    monkeypatch.setattr(environment.metadata, 'packages_distributions', lambda: dict(mmcv=['mmcv-lite']))
    monkeypatch.setattr(sys.modules['mmcv'], '__version__', '1.7.0')
    assert "pip install --upgrade 'mmcv-lite<2.4,>=2.1'" in problem(detection=False)


def test_requirements_without_installation_are_those_of_setup_cfg(monkeypatch):
    def not_installed(name):
        raise environment.metadata.PackageNotFoundError(name)

    installed = {name: SpecifierSet(versions) for name, versions in environment._requirements().items()}
    monkeypatch.setattr(environment.metadata, 'requires', not_installed)
    from_file = {name: SpecifierSet(versions) for name, versions in environment._requirements.__wrapped__().items()}
    assert {'torch', 'torchvision', 'onedl-mmcv', 'lvis'} <= set(from_file)
    assert from_file == installed


@pytest.mark.parametrize(
    ('module', 'blocked', 'package'),
    [
        ('torch', ['torch'], 'ltmm.models'),
        ('torch', ['torch'], 'ltmm.engine'),
        ('mmengine', ['mmengine', 'packaging'], 'ltmm'),
    ],
)
def test_import_names_the_missing_package(module, blocked, package):
    code = f'import sys; sys.modules.update(dict.fromkeys({blocked})); import {package}'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert f'EnvironmentProblem: {module} is not installed. Install it:' in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_classification_works_without_mmdet_and_compiled_ops():
    code = (
        'import sys; sys.modules["mmdet"] = sys.modules["mmcv._ext"] = None;'
        'import torch, ltmm; from ltmm.registry import MODELS;'
        'from ltmm.utils.environment import check_environment; check_environment(detection=False);'
        'loss = MODELS.build(dict(type="ltmm.BalancedSoftmaxLoss", class_counts=[9, 1]));'
        'print(loss(torch.zeros(1, 2), torch.tensor([1])).item())'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.splitlines()[-1]) == pytest.approx(2.302585)  # -log(0.1)


def test_collect_env(no_module):
    no_module('lvis')
    info = collect_env()
    assert list(info)[-2:] == ['classification works', 'detection works']
    assert info['classification works'] == 'yes'
    assert info['detection works'].startswith('no. ')
    assert info['mmengine'].endswith(sys.modules['mmengine'].__version__)
