import runpy

import pytest
import yaml
from toy import ROOT

SCRIPT = ROOT / 'tools/analysis_tools/model_zoo.py'
main = runpy.run_path(str(SCRIPT))['main']

RESULTS = """\
name: Toy-LT
task: Image Classification
recipes:
  ce: cross entropy
  bs: balanced softmax
  stage0:
  crt: cRT
results:
- schedule: 2 epochs
  seeds: 0, 1
  hardware: CPU
  date: 2026-01-02
  command: python tools/train.py configs/toy/ce.py
  paper: true
  columns: [top-1, epochs]
  rows:
    ce: [40.10 ± 0.20, 2]
    ce, forward test set: [50.00, 2]
- columns: [few]
  rows:
    bs: ['-']
paper_figures:
  columns: [top-1, source]
  rows:
    ce: [41.0, '[1]']
    crt: [45.30, '[1]']
  sources: '[1] A paper.'
"""
README = """
| method | top-1 | epochs | paper |
| --- | ---: | ---: | ---: |
| [cross entropy](ce.py) | 40.10 ± 0.20 | 2 | 41.0 |
| [cross entropy](ce.py), forward test set | 50.00 | 2 | - |
"""


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / 'configs/toy'
    folder.mkdir(parents=True)
    for name in ('ce', 'bs', 'stage0', 'crt'):
        (folder / f'{name}.py').touch()
    (folder / 'README.md').write_text('# Toy\n\n<!-- results:begin -->\nold\n<!-- results:end -->\n\nEnd.\n')
    (folder / 'results.yml').write_text(RESULTS)
    return tmp_path


def test_this_checkout_is_up_to_date():
    with pytest.raises(SystemExit, match='^0$'):
        main(['--check'])


def test_readme_and_metafile(checkout):
    with pytest.raises(SystemExit, match='README.md is out of date'):
        main(['--check', '--root', str(checkout)])
    main(['--root', str(checkout)])
    with pytest.raises(SystemExit, match='^0$'):
        main(['--check', '--root', str(checkout)])
    text = (checkout / 'configs/toy/README.md').read_text()
    assert text.startswith('# Toy\n\n<!-- results:begin -->\n') and text.endswith('<!-- results:end -->\n\nEnd.\n')
    assert '2 epochs; seeds 0, 1; CPU; 2026-01-02.' in text and README in text and 'old' not in text
    assert '```bash\npython tools/train.py configs/toy/ce.py\n```' in text
    assert '| [cRT](crt.py) | 45.30 | [1] |' in text and '[1] A paper.' in text and 'stage0' not in text
    models = yaml.safe_load((checkout / 'configs/toy/metafile.yml').read_text())['Models']
    assert [model['Config'] for model in models] == [f'configs/toy/{x}.py' for x in ('ce', 'bs', 'stage0', 'crt')]
    task = dict(Task='Image Classification')
    assert models[0]['Results'] == [
        dict(task, Dataset='Toy-LT', Metrics={'top-1': 40.1}),
        dict(task, Dataset='Toy-LT, forward test set', Metrics={'top-1': 50.0}),
    ]
    assert yaml.safe_load((checkout / 'model-index.yml').read_text()) == dict(Import=['configs/toy/metafile.yml'])


@pytest.mark.parametrize(
    'old, new, message',
    [
        ('  crt: cRT\n', '', r"differ in \['crt'\]"),
        ('  crt: cRT\n', '  crt: cRT\n  gone: x\n', r"differ in \['gone'\]"),
        ('  crt: cRT\n', '  crt: cRT\n  crt: x\n', 'results.yml is not valid: crt occurs twice .*toy/results.yml'),
        ('  command: python tools/train.py configs/toy/ce.py\n', '', 'a result has no command'),
        ('    crt: [45.30, ', '    other: [45.30, ', 'but got other'),
        ('    crt: [45.30, ', '    crt: [', '2 cells'),
        (
            'results:\n',
            'result:\n',
            "results.yml: the file has an unknown key 'result'. Keys: dataset, .*, results, task",
        ),
        ('task: Image Classification\n', '', "results.yml: the file has no key 'task'"),
        ('recipes:\n', 'recipe:\n', "results.yml: the file has an unknown key 'recipe'"),
        (
            '- columns: [few]',
            '- column: [few]',
            "results.yml: the result has an unknown key 'column'",
        ),
        ("  sources: '[1]", "  source: '[1]", "the paper_figures has an unknown key 'source'"),
        ('columns: [few]', 'columns: [few', 'results.yml is not valid: '),
    ],
)
def test_errors(checkout, old, new, message):
    assert old in RESULTS
    (checkout / 'configs/toy/results.yml').write_text(RESULTS.replace(old, new))
    with pytest.raises(SystemExit, match=message):
        main(['--root', str(checkout)])


@pytest.mark.parametrize('name', ['results.yml', 'README.md'])
def test_missing_files(checkout, name):
    (checkout / 'configs/toy' / name).unlink()
    with pytest.raises(SystemExit, match=name):
        main(['--root', str(checkout)])
