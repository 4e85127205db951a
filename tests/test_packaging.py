import configparser
import io
import json
import platform
import re
import runpy
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def pins(file):
    return dict(re.findall(r'^([\w.-]+)==([\w.+]+)', (ROOT / file).read_text(), re.MULTILINE))


PINS = pins('constraints.txt')
APART = dict(federated='tools/flower/constraints.txt')  # extras with an environment of their own
SHIPPED = ('configs/_base_/default_runtime.py', 'tools/train.py', 'model-index.yml')


CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / 'setup.cfg')
EXTRAS = CONFIG['options.extras_require']


def of_section(section):
    return [Requirement(line) for line in section.strip().split('\n')]


def requirements():
    sections = [CONFIG['options']['install_requires'], *(EXTRAS[name] for name in EXTRAS if name not in APART)]
    found = [requirement for section in sections for requirement in of_section(section)]
    return [requirement for requirement in found if requirement.name != 'ltmm']  # an extra with the content of another


@pytest.mark.parametrize('requirement', requirements(), ids=lambda requirement: requirement.name)
def test_tested_version_is_pinned_and_in_range(requirement):
    assert requirement.specifier.contains(PINS[requirement.name])


@pytest.mark.parametrize('extra', APART)
def test_environment_apart_has_tested_versions_in_range(extra):
    found, sections = pins(APART[extra]), [CONFIG['options']['install_requires'], EXTRAS['cls'], EXTRAS[extra]]
    for requirement in (requirement for section in sections for requirement in of_section(section)):
        assert requirement.specifier.contains(found[requirement.name]), requirement
    assert all(extra not in of.extras for section in EXTRAS.values() for of in of_section(section))


def test_extras_of_extras_exist():
    found = [requirement for section in EXTRAS.values() for requirement in of_section(section)]
    assert {extra for requirement in found if requirement.name == 'ltmm' for extra in requirement.extras} <= set(EXTRAS)


def all_requirements(names):
    """The requirements and theirs, by name, of those that are installed here."""
    found, to_do = {}, [Requirement(name) for name in names]
    while to_do:
        requirement = to_do.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate(dict(extra=''))):
            continue
        found[name] = metadata.distribution(name)
        to_do += map(Requirement, found[name].requires or [])
    return found


def test_everything_that_the_extras_bring_is_pinned():
    pinned = {canonicalize_name(name) for name in PINS}
    try:
        found = all_requirements(str(requirement) for requirement in requirements())
    except metadata.PackageNotFoundError as e:
        pytest.skip(f'{e.name} is not installed')
    of_torch = set(all_requirements(['torch']))
    assert {name for name in found if name not in of_torch} - {'pip'} <= pinned


def test_model_index_names_every_metafile_and_no_other():
    imports = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    assert sorted(imports) == sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('configs/*/metafile.yml'))


def test_every_folder_of_code_is_a_package():
    folders = {path.parent for path in (ROOT / 'ltmm').rglob('*.py') if '.mim' not in path.parts}
    assert [folder for folder in folders if not (folder / '__init__.py').exists()] == []


def python_with_our_packages(folder):
    """A fresh virtual environment that sees what is installed for this one, except ltmm."""
    venv.create(folder)
    (site_packages,) = folder.glob('lib/python*/site-packages')
    ours = [path for path in sys.path if path.endswith(('site-packages', 'dist-packages'))]
    (site_packages / 'ours.pth').write_text('\n'.join(ours))  # .pth files of theirs, as ltmm's, are not read
    return folder / 'bin' / 'python'


def python_with_declared_packages(folder):
    """A fresh virtual environment that sees what ltmm requires without extras, and nothing else."""
    venv.create(folder)
    (site_packages,) = folder.glob('lib/python*/site-packages')
    for distribution in all_requirements(CONFIG['options']['install_requires'].strip().split('\n')).values():
        for file in distribution.files:
            top, link = distribution.locate_file(file.parts[0]), site_packages / file.parts[0]
            if file.parts[0] != '..' and not link.exists():
                link.symlink_to(top)
    return folder / 'bin' / 'python'


def run(*command, cwd):
    result = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def pip_install(python, *args):
    """``pip install`` for that Python, of one package and with nothing from the network."""
    options = ('--ignore-installed', '--no-deps', '--no-build-isolation')
    run(sys.executable, '-m', 'pip', '--python', python, 'install', *options, *args, cwd=ROOT)


def build(kind, checkout, folder):
    """Build a ``wheel`` or an ``sdist``; return its path."""
    code = f'import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))'
    return folder / run(sys.executable, '-c', code, folder, cwd=checkout).splitlines()[-1]


@pytest.fixture
def checkout(tmp_path):
    """A copy of what a fresh clone has of the package."""
    checkout = tmp_path / 'checkout'
    checkout.mkdir()
    for name in ('ltmm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns('.mim', '__pycache__'))
    for name in ('setup.cfg', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'model-index.yml', 'constraints.txt'):
        shutil.copy(ROOT / name, checkout / name)
    for name in ('README.md', 'LICENSE'):
        (checkout / name).touch()
    return checkout


def config_resolves(python, cwd):
    """A config outside the checkout inherits one of ltmm's; returns the folder ltmm was imported from."""
    (cwd / 'mine.py').write_text("_base_ = ['ltmm::_base_/default_runtime.py']\nlog_level = 'ERROR'\n")
    code = (
        'import ltmm; from mmengine.config import Config; cfg = Config.fromfile("mine.py");'
        'assert cfg.default_hooks and cfg.log_level == "ERROR"; print(ltmm.__path__[0])'
    )
    return Path(run(python, '-c', code, cwd=cwd).splitlines()[-1])


def names_of_models():
    metafiles = (yaml.safe_load(path.read_text()) for path in ROOT.glob('configs/*/metafile.yml'))
    return {model['Name'] for metafile in metafiles for model in metafile['Models'] or []}


MIM = """
import sys
from importlib import import_module
from unittest import mock

from mim.commands.search import get_model_info

train = import_module('mim.commands.train')  # in mim.commands, the name is that of a function
print(*get_model_info('ltmm').index)
with mock.patch.object(train, 'subprocess') as subprocess:
    subprocess.check_output.return_value, subprocess.check_call.return_value = b'', 0
    train.train('ltmm', sys.argv[1], gpus=0, other_args=('--work-dir', 'runs'))
print(*subprocess.check_call.call_args.args[0])
"""


def check_mim(python, config, folder):
    """``mim search`` shows all models, and ``mim train`` finds the tool and the config in the folder."""
    pytest.importorskip('mim')
    (folder / 'use_mim.py').write_text(MIM)
    lines = run(python, 'use_mim.py', config, cwd=folder).splitlines()
    assert set(lines[0].split()) == names_of_models()
    _, script, config, *options = lines[-1].split()
    assert options == ['--launcher', 'none', '--work-dir', 'runs']
    assert Path(script).read_text() == (ROOT / 'tools/train.py').read_text()
    assert Path(config).read_text() == (ROOT / 'configs/fashion_mnist_lt/ce_r8.py').read_text()


@pytest.mark.slow
def test_pip_install_of_the_sdist_ships_configs_and_tools(checkout, tmp_path):
    python = python_with_our_packages(tmp_path / 'env')
    pip_install(python, build('sdist', checkout, tmp_path))
    package = config_resolves(python, tmp_path)
    assert package.is_relative_to(tmp_path / 'env')
    for name in SHIPPED:
        assert (package / '.mim' / name).read_bytes() == (ROOT / name).read_bytes()
    check_mim(python, 'ce_r8.py', tmp_path)


@pytest.mark.slow
def test_editable_install_links_configs_and_tools(checkout, tmp_path):
    python = python_with_our_packages(tmp_path / 'env')
    pip_install(python, '--editable', checkout)
    package = config_resolves(python, tmp_path)
    assert package == checkout / 'ltmm'
    for name in SHIPPED:
        assert (package / '.mim' / name).samefile(checkout / name)
    check_mim(python, checkout / 'configs/fashion_mnist_lt/ce_r8.py', tmp_path)


@pytest.mark.slow
def test_wheel_of_the_sdist_equals_the_wheel_of_the_checkout(checkout, tmp_path):
    direct = build('wheel', checkout, tmp_path)
    shutil.unpack_archive(build('sdist', checkout, tmp_path), tmp_path / 'sdist')
    (unpacked,) = (tmp_path / 'sdist').iterdir()
    (tmp_path / 'second').mkdir()
    second = build('wheel', unpacked, tmp_path / 'second')
    names = [set(zipfile.ZipFile(wheel).namelist()) for wheel in (direct, second)]
    assert names[0] == names[1]
    assert {f'ltmm/.mim/{name}' for name in SHIPPED} <= names[0]
    assert not [name for name in names[0] if name.startswith(('tests', 'tools', 'configs')) or name.endswith('.pyc')]


WITHOUT_EXTRAS = """
import sys
from importlib.util import find_spec
import torch
from torch.utils.data import DataLoader, TensorDataset

import ltmm
from ltmm import ClassDistribution
from ltmm.datasets.samplers import ClassAwareSampler, PowerSampler, RepeatFactorSampler
from ltmm.evaluation import LongTailMetric, MultiLabelMetric
from ltmm.models.losses import (
    ASLLoss, BalPoELoss, BalancedSoftmaxLoss, CCSAMLoss, ClassBalancedLoss, DeferredReweighting, LossInputs
)
from ltmm.registry import MODELS

assert 'site-packages' in ltmm.__file__, ltmm.__file__
for name in ('mmcv', 'mmpretrain', 'mmdet', 'torchvision', 'scipy', 'pandas'):
    assert find_spec(name) is None, name
label = torch.tensor([0] * 90 + [1] * 9 + [2])
distribution = ClassDistribution.from_labels(label)
logits = torch.zeros(100, 3)
loss = BalancedSoftmaxLoss(class_counts=distribution)(logits, label)
prior = torch.tensor([0.9, 0.09, 0.01])
torch.testing.assert_close(loss, -(prior * prior.log()).sum())
built = MODELS.build(dict(type='ltmm.BalancedSoftmaxLoss', class_counts=[90, 9, 1]))
torch.testing.assert_close(built(logits, label), loss)
assert ASLLoss()(logits, torch.eye(3)[label]) > 0
assert ClassBalancedLoss(loss_type='softmax', beta=0.99, class_counts=distribution)(logits, label) > 0
CCSAMLoss(class_counts=distribution)
experts = BalPoELoss(class_counts=distribution)
assert all(term > 0 for term in experts(LossInputs(label, expert_logits=torch.zeros(3, 100, 3))).values())
deferred = DeferredReweighting(loss=torch.nn.CrossEntropyLoss(), start_epoch=1, class_counts=distribution)
deferred.set_progress(1, 2)
assert deferred(logits, label) > 0
dataset = TensorDataset(logits, label)
for sampler in (
    PowerSampler(dataset, power=0),
    ClassAwareSampler(dataset, labels=label.tolist()),
    RepeatFactorSampler(dataset, threshold=0.3),
):
    assert sum(len(batch[0]) for batch in DataLoader(dataset, batch_size=10, sampler=sampler)) == len(sampler)
assert LongTailMetric and MultiLabelMetric
try:
    from ltmm.models import LongTailClsHead
except ltmm.utils.environment.EnvironmentProblem as e:
    print(e)
"""


@pytest.mark.slow
def test_wheel_without_extras(checkout, tmp_path):
    python = python_with_declared_packages(tmp_path / 'env')
    wheel = build('wheel', checkout, tmp_path)
    run(sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps', wheel, cwd=tmp_path)
    (tmp_path / 'use.py').write_text(WITHOUT_EXTRAS)
    lines = run(python, 'use.py', cwd=tmp_path).splitlines()
    assert re.fullmatch(r'mmpretrain is not installed. .* -m pip install "ltmm\[cls\]"', lines[-1])


@pytest.mark.slow
def test_metadata(checkout, tmp_path):
    shutil.copy(ROOT / 'README.md', checkout)
    code = 'from setuptools import build_meta; print(build_meta.prepare_metadata_for_build_wheel("."))'
    folder = checkout / run(sys.executable, '-c', code, cwd=checkout).splitlines()[-1]
    found = metadata.PathDistribution(folder)
    assert found.metadata['Name'] == 'ltmm' and found.metadata['Requires-Python'] == '>=3.10'
    assert found.metadata['Description-Content-Type'] == 'text/markdown'
    assert found.metadata.get_payload().startswith('# ltmm')
    urls = dict(url.split(', ') for url in found.metadata.get_all('Project-URL'))
    assert {'Documentation', 'Source', 'Tracker'} <= set(urls)
    always = {r.name for r in map(Requirement, found.requires) if r.marker is None}
    assert always == {'torch', 'numpy', 'onedl-mmengine'}
    assert set(found.metadata.get_all('Provides-Extra')) == set(EXTRAS)


@pytest.fixture
def setup_env(tmp_path, monkeypatch):
    """The namespace of tools/setup_env.py, at work in an empty folder."""
    monkeypatch.setenv('LTMM_CACHE', str(tmp_path / 'cache'))
    namespace = runpy.run_path(ROOT / 'tools' / 'setup_env.py')
    scope = namespace['main'].__globals__
    scope.update(VENV=tmp_path / '.venv', STATE=tmp_path / '.venv' / 'ltmm-setup', PYTHON=Path(sys.executable))
    scope.update(LOG=tmp_path / 'setup.log', torch_and_device=lambda: ('2.11.0+cu130', 'cpu'))
    return scope


def test_ops_are_built_once_for_each_combination(setup_env, tmp_path):
    built = []

    def pip(command, *args, **env):
        folder = Path(args[args.index('-w') + 1])
        (folder / 'onedl_mmcv.whl').write_text(f'build {len(built)}')
        built.append(env['MMCV_WITH_OPS'])

    setup_env['pip'] = pip
    first, again = setup_env['mmcv_wheel'](), setup_env['mmcv_wheel']()
    assert first == again and first.read_text() == 'build 0' and built == ['1']
    assert first.is_relative_to(tmp_path / 'cache')
    setup_env['torch_and_device'] = lambda: ('2.12.0+cu130', 'cpu')
    other = setup_env['mmcv_wheel']()
    assert other != first and built == ['1', '1']
    assert sorted(path.name for path in other.parent.iterdir()) == ['onedl_mmcv.whl']


def test_build_that_dies_leaves_nothing_behind(setup_env, tmp_path):
    def pip(command, *args, **env):
        Path(args[args.index('-w') + 1], 'onedl_mmcv.whl').write_text('half')
        raise KeyboardInterrupt

    setup_env['pip'] = pip
    with pytest.raises(KeyboardInterrupt):
        setup_env['mmcv_wheel']()
    assert list((tmp_path / 'cache').rglob('*.whl')) == []


def test_failed_command_shows_its_last_lines_and_the_log(setup_env, capsys):
    code = 'print("the reason"); raise SystemExit(3)'
    with pytest.raises(SystemExit, match=r'Set-up stopped: a command failed after 0 min \d+ s .*setup\.log'):
        setup_env['run'](sys.executable, '-c', code)
    assert capsys.readouterr().out.endswith('the reason\n')


def arguments(setup_env, monkeypatch, *args, old=None):
    monkeypatch.setattr(sys, 'argv', ['setup_env.py', *args])
    return setup_env['parse_args'](old or {})


@pytest.mark.parametrize(
    'break_it, message',
    [
        (lambda scope: scope['VENV'].mkdir(), '`make install` did not make it: move it away'),
        (lambda scope: scope.update(GIGABYTES=dict(cpu=10**9)), 'GB of free disk space, and 1000000000 GB are needed'),
        (lambda scope: None, r'g\+\+ is missing.*apt install g\+\+'),
    ],
)
def test_machine_that_lacks_something(setup_env, monkeypatch, break_it, message):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    break_it(setup_env)
    with pytest.raises(SystemExit, match=message):
        setup_env['check_machine'](arguments(setup_env, monkeypatch, '--ops', 'compiled', '--torch', 'cpu'))


def test_default_set_up_needs_no_compiler(setup_env, monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    setup_env['check_machine'](arguments(setup_env, monkeypatch))
    commands = []
    setup_env['pip'] = lambda *args, **env: commands.append(args)
    setup_env['install_mmcv'](compiled=False)
    assert commands == [('install', '--force-reinstall', '--no-deps', '--no-cache-dir', 'onedl-mmcv')]


def test_environment_keeps_its_ops_and_torch(setup_env, monkeypatch):
    monkeypatch.setitem(setup_env, 'has_nvidia_gpu', lambda: False)
    assert vars(arguments(setup_env, monkeypatch)) == dict(ops='torchvision', torch='cpu', level='user')
    old = dict(ops='compiled', torch='cuda', level='dev')
    assert vars(arguments(setup_env, monkeypatch, old=old)) == old
    assert arguments(setup_env, monkeypatch, '--ops', 'torchvision', old=old).ops == 'torchvision'
    with pytest.raises(SystemExit):
        arguments(setup_env, monkeypatch, '--ops', 'complied')


@pytest.mark.parametrize(
    'version, found',
    [(PINS['torchvision'], True), ('0.0.1', False), (None, False)],
    ids=['tested version', 'another version', 'no connection'],
)
def test_cpu_build_of_torch_needs_its_torchvision(setup_env, monkeypatch, version, found):
    def urlopen(url, timeout):
        if version is None:
            raise OSError('no route to host')
        package = url.split('/')[-2]
        tag = f'cp{sys.version_info.major}{sys.version_info.minor}'
        number = version if package == 'torchvision' else PINS[package]
        return io.BytesIO(f'<a>{package}-{number}%2Bcpu-{tag}-{tag}-linux_{platform.machine()}.whl</a>'.encode())

    monkeypatch.setattr(setup_env['urllib'].request, 'urlopen', urlopen)
    expected = ('--extra-index-url', 'https://download.pytorch.org/whl/cpu') if found else ()
    assert setup_env['cpu_index']() == expected


@pytest.mark.parametrize('changed', [None, 'inputs', 'ops', 'level', 'unfinished', 'older format'])
def test_second_set_up_does_nothing_unless_something_changed(setup_env, monkeypatch, capsys, changed):
    options = dict(ops=['--ops', 'compiled'], level=['--level', 'dev'])
    monkeypatch.setitem(setup_env, 'check_machine', lambda args: pytest.fail('it started over'))
    monkeypatch.setattr(sys, 'argv', ['setup_env.py', *options.get(changed, [])])
    setup_env['VENV'].mkdir()
    place, digest = f'{ROOT} Python {platform.python_version()}', setup_env['digest_of_inputs']()
    state = json.dumps(dict(place=place, digest=digest, ops='torchvision', torch='cpu', level='user'))
    setup_env['STATE'].write_text({'unfinished': '', 'older format': f'{place}\n{digest}'}.get(changed, state))
    if changed == 'inputs':
        monkeypatch.setitem(setup_env, 'INPUTS', ('setup.cfg',))
    if changed:
        with pytest.raises(pytest.fail.Exception, match='it started over'):
            setup_env['main']()
    else:
        setup_env['main']()
        assert capsys.readouterr().out == ''


@pytest.mark.parametrize('changed, base', [('level', []), ('ops', ['base']), ('inputs', ['base'])])
def test_upgrade_to_development_installs_nothing_twice(setup_env, monkeypatch, changed, base):
    calls, digest = [], setup_env['digest_of_inputs']()
    setup_env.update(
        check_machine=lambda args: None,
        install_base=lambda args: calls.append('base'),
        pip=lambda *args, **env: calls.append(args[-1]),
        run=lambda *args, **env: None,
    )
    old = dict(place=f'{ROOT} Python {platform.python_version()}', ops='torchvision', torch='cpu', level='user')
    old |= dict(digest='another' if changed == 'inputs' else digest, ops='compiled' if changed == 'ops' else old['ops'])
    setup_env['VENV'].mkdir()
    setup_env['STATE'].write_text(json.dumps(old))
    monkeypatch.setattr(sys, 'argv', ['setup_env.py', '--ops', 'torchvision', '--level', 'dev'])
    setup_env['main']()
    assert calls == [*base, '.[dev,docs]'] + ['opencv-python-headless'] * (len(calls) > 1 + len(base))
    monkeypatch.setattr(sys, 'argv', ['setup_env.py'])
    setup_env['main']()  # the next `make install` keeps them
    assert json.loads(setup_env['STATE'].read_text())['level'] == 'dev' and calls.count('.[dev,docs]') == 1


def test_level_of_developers_has_that_of_users():
    levels = runpy.run_path(ROOT / 'tools' / 'setup_env.py')['EXTRAS']

    def names(extras):
        for requirement in (r for extra in extras for r in of_section(EXTRAS[extra])):
            yield from names(requirement.extras) if requirement.name == 'ltmm' else [requirement.name]

    assert set(names(levels['user'].split(','))) < set(names(levels['dev'].split(',')))
