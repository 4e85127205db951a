"""Files around the package: what they say about versions, commands and each other."""

import re
import runpy
import shlex
from configparser import ConfigParser
from datetime import date

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from toy import ROOT

import ltmm

GITHUB = ROOT / '.github'
WORKFLOW = GITHUB / 'workflows/ci.yml'
FORMS = sorted(path for path in (GITHUB / 'ISSUE_TEMPLATE').glob('*.yml') if path.name != 'config.yml')
OLDEST = GITHUB / 'constraints-oldest.txt'


def read(path):
    return yaml.safe_load(path.read_text(encoding='utf-8'))


def test_citation():
    citation = read(ROOT / 'CITATION.cff')
    assert {'cff-version', 'message', 'title', 'authors'} <= citation.keys()  # required by the schema 1.2.0
    assert citation['cff-version'] == '1.2.0' and citation['type'] == 'software' and citation['authors']
    assert citation['version'] == ltmm.__version__
    assert citation['license'] == 'Apache-2.0'
    config = ConfigParser()
    config.read(ROOT / 'setup.cfg')
    assert citation['repository-code'] == config['metadata']['url']
    assert citation['authors'] == [dict(name=config['metadata']['author'])]
    date.fromisoformat(citation['date-released'])  # a string: the schema refuses YAML's dates
    fields = 'abstract authors cff-version date-released keywords license message repository-code title type version'
    assert set(citation) <= set(fields.split())


def test_changelog_begins_with_this_version():
    text = (ROOT / 'CHANGELOG.md').read_text()
    versions = re.findall(r'^## \[?([\d.]+)\]? - (\S+)$', text, re.M)
    assert versions[0][0] == ltmm.__version__
    assert [version for version, _ in versions] == sorted((version for version, _ in versions), key=Version)[::-1]
    assert all(day == 'unreleased' or date.fromisoformat(day) for _, day in versions)
    assert set(re.findall(r'^### (.+)$', text, re.M)) <= {
        'Added',
        'Changed',
        'Deprecated',
        'Removed',
        'Fixed',
        'Security',
    }


def test_security_supports_this_version():
    major, minor = ltmm.__version__.split('.')[:2]
    assert f'| {major}.{minor}.x | yes |' in (ROOT / 'SECURITY.md').read_text()


def test_workflow_runs_the_command_of_developers():
    job = read(WORKFLOW)['jobs']['test']
    assert [step['run'] for step in job['steps'] if 'run' in step] == ['.ci/run']
    assert (ROOT / '.ci/run').stat().st_mode & 0o111
    assert job['env']['LTMM_CONSTRAINTS'] == '${{ matrix.constraints }}'
    stacks = job['strategy']['matrix']['include']
    assert [stack['stack'] for stack in stacks] == ['oldest', 'newest']
    for stack in stacks:
        assert isinstance(stack['python'], str)  # the number 3.10 is 3.1
        assert (ROOT / stack['constraints']).is_file()
    config = ConfigParser()
    config.read(ROOT / 'setup.cfg')
    assert config['options']['python_requires'] == f'>={stacks[0]["python"]}'
    assert f'Python :: {stacks[1]["python"]}' in config['metadata']['classifiers'].splitlines()[-2]


def test_workflow_tests_flower_in_its_own_environment():
    """With the command of its README; the tests are skipped in the environment of the others."""
    (command,) = (step['run'] for step in read(WORKFLOW)['jobs']['flower']['steps'] if 'run' in step)
    install = '-c tools/flower/constraints.txt'
    assert install in command and '".[cls,federated]"' in command
    readme = (ROOT / 'ltmm/tasks/federated/README.md').read_text()
    assert f'pip install {install} ".[cls,federated]"' in readme
    assert (ROOT / command.split()[-1]).is_file()


def requirements():
    config = ConfigParser()
    config.read(ROOT / 'setup.cfg')
    sections = [config['options']['install_requires'], *config['options.extras_require'].values()]
    lines = [line for section in sections for line in section.strip().splitlines() if line and line[0] != '#']
    return {found.name: found for line in lines if (found := Requirement(line)).name != 'ltmm'}


def test_oldest_versions_are_allowed():
    pins = dict(re.findall(r'^([\w-]+)==([\w.]+)$', OLDEST.read_text(), re.M))
    required = requirements()
    for name, version in pins.items():
        assert name not in required or required[name].specifier.contains(version), name
    core = ('torch', 'torchvision', 'numpy', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain', 'onedl-mmdetection')
    assert set(core) <= pins.keys()
    assert f'torch=={pins["torch"]}' in OLDEST.read_text() and required['torch'].specifier.contains('2.4.0')


@pytest.mark.parametrize('path', FORMS, ids=lambda path: path.stem)
def test_issue_form(path):
    form = read(path)
    assert form['name'] and form['description']
    ids = [item['id'] for item in form['body'] if item['type'] != 'markdown']
    assert ids and len(ids) == len(set(ids))
    for item in form['body']:
        assert item['type'] in ('markdown', 'input', 'textarea', 'checkboxes', 'dropdown')
        assert item['attributes'].get('label') or item['type'] == 'markdown'
        assert item['type'] != 'checkboxes' or all('label' in option for option in item['attributes']['options'])


def test_there_is_a_form_for_bugs_methods_and_questions():
    assert [path.stem for path in FORMS] == ['bug', 'method', 'question']
    assert 'blank_issues_enabled' in read(GITHUB / 'ISSUE_TEMPLATE/config.yml')


@pytest.fixture(scope='module')
def dockerfile():
    """Instructions of the Dockerfile as (name, rest), with continued lines joined."""
    lines = re.sub(r'^#.*\n', '', (ROOT / 'Dockerfile').read_text(), flags=re.M).replace('\\\n', ' ').splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def test_dockerfile(dockerfile):
    names = [name for name, _ in dockerfile]
    assert dockerfile[0] == ('FROM', 'python:3.11-slim-bookworm')
    assert names.index('USER') > max(index for index, name in enumerate(names) if name == 'RUN')
    assert dict(dockerfile)['USER'] != 'root'
    extras = re.search(r'"\.\[(.+?)\]"', dict(dockerfile)['RUN'])[1].split(',')
    config = ConfigParser()
    config.read(ROOT / 'setup.cfg')
    assert set(extras) <= set(config['options.extras_require'])


def test_docker_context_has_what_the_installation_needs():
    lines = (ROOT / '.dockerignore').read_text().splitlines()
    assert '**' in lines
    kept = {line[1:] for line in lines if line.startswith('!')}
    assert all((ROOT / name).exists() for name in kept)
    assert {'ltmm', 'configs', 'tools', 'setup.cfg', 'setup.py', 'pyproject.toml', 'constraints.txt'} <= kept


def test_paths_of_the_guide_for_contributors_exist():
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    for path in re.findall(r'\]\(([\w./]+)\)', text) + re.findall(r'`((?:tests|tools)/[\w./]+)`', text):
        assert (ROOT / path).exists(), path
    targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.M)
    commands = [line for block in re.findall(r'```bash\n(.+?)```', text, re.S) for line in block.splitlines()]
    made = [shlex.split(line)[1] for line in commands if line.startswith('make ')]
    assert made and set(made) <= set(targets)


@pytest.mark.parametrize('name', ['constraints.txt', '.github/constraints-oldest.txt'])
def test_set_up_takes_the_versions_of_a_stack(monkeypatch, name):
    monkeypatch.setenv('LTMM_CONSTRAINTS', name)
    namespace = runpy.run_path(str(ROOT / 'tools/setup_env.py'))
    commands = []
    monkeypatch.setitem(namespace['pip'].__globals__, 'run', lambda *command, **env: commands.append(command))
    namespace['pip']('install', 'torch')
    assert commands[0][-3:] == ('-c', ROOT / name, 'torch') and name in namespace['INPUTS']
    assert f'torch=={namespace["tested"]("torch")}' in (ROOT / name).read_text()
    assert namespace['tested']('onedl-mmcv')
