"""Write the result tables of the READMEs and the metafiles from configs/<benchmark>/results.yml.

    python tools/analysis_tools/model_zoo.py            # after each change of a results.yml
    python tools/analysis_tools/model_zoo.py --check    # writes nothing; exit status 1 if a file is out of date

A results.yml holds

    name, task, dataset, paper: of the metafile; `dataset` is `name` by default
    recipes:                    each config of the folder, with its method; empty for a stage of another recipe
      crt_r32: cRT, two stages
    results:                    a list of our tables
    - schedule, seeds, hardware, date, command: how the figures were obtained; a record without them is a further
                                table of the same runs. `dataset` may differ from that of the benchmark
      paper: true               adds a column with the first figure of the paper, where the setting is the paper's
      columns: [top-1, few]
      rows:                     the cells as they appear in the README; those with a decimal point are figures
        crt_r32: [41.00 ± 0.10, 12.00 ± 0.30]
        crt_r32, forward test set: [51.00, 13.00]
    paper_figures:
      columns, rows: as above
      sources: text below the table

The tool writes what stands between `<!-- results:begin -->` and `<!-- results:end -->` in the README. The metafile
and model-index.yml are in the format of OpenMMLab, which `_base_ = 'ltmm::...'` needs.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SETTING = ('schedule', 'seeds', 'hardware', 'date', 'command')
KEYS = dict(  # of each mapping: those it needs, and further ones
    file=({'name', 'task', 'recipes'}, {'dataset', 'paper', 'results', 'paper_figures'}),
    result=({'columns', 'rows'}, {*SETTING, 'dataset', 'paper'}),
    paper_figures=({'columns', 'rows', 'sources'}, set()),
)
FIGURE = re.compile(r'-?\d+\.\d+(?![\w.])')
BEGIN, END = '<!-- results:begin -->\n', '<!-- results:end -->\n'
HEADER = '# Written by tools/analysis_tools/model_zoo.py.\n'


class Text(yaml.BaseLoader):
    """Loads every scalar as the text that stands in the file, and refuses a key that occurs twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.MarkedYAMLError(problem=f'{twice.pop()} occurs twice', problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def read_results(folder: Path) -> dict:
    """The checked content of ``folder/results.yml``.

    Raises:
        ValueError: unreadable YAML, an unknown or missing key, a config that the file doesn't name or that doesn't
            exist, a result without its setting, or a row with the wrong number of cells.
    """
    path = folder / 'results.yml'
    try:
        with path.open(encoding='utf-8') as file:  # errors name it
            source = yaml.load(file, Text)
    except yaml.YAMLError as e:
        raise ValueError(f'{path} is not valid: {" ".join(str(e).split())}') from None
    check_keys(path, 'file', source)
    configs, recipes = {config.stem for config in folder.glob('*.py')}, set(source['recipes'])
    if configs != recipes:
        raise ValueError(f'{path}: recipes and configs of the folder differ in {sorted(configs ^ recipes)}')
    ours, papers = source.setdefault('results', []), source.get('paper_figures')
    for kind, record in [*(('result', record) for record in ours), *([('paper_figures', papers)] if papers else [])]:
        check_keys(path, kind, record)
    for i, record in enumerate(ours):
        missing = [key for key in SETTING if key not in record]
        if missing and (i == 0 or len(missing) < len(SETTING)):
            raise ValueError(f'{path}: a result has no {", ".join(missing)}')
    for record in [*ours, papers] if papers else ours:
        for row, cells in record['rows'].items():
            if config_of(row) not in recipes or len(cells) != len(record['columns']):
                raise ValueError(
                    f'{path}: expected a recipe and {len(record["columns"])} cells, but got {row}: {cells}'
                )
    return source


def check_keys(path: Path, kind: str, record: object) -> None:
    """Raise a ValueError unless a mapping of the file has the keys of its kind."""
    needed, further = KEYS[kind]
    if not isinstance(record, dict):
        raise ValueError(f'{path}: expected a {kind} with the keys {", ".join(sorted(needed))}, but got {record!r}')
    unknown, missing = sorted(record.keys() - needed - further), sorted(needed - record.keys())
    if unknown or missing:
        problem = f'an unknown key {unknown[0]!r}' if unknown else f'no key {missing[0]!r}'
        raise ValueError(f'{path}: the {kind} has {problem}. Keys: {", ".join(sorted(needed | further))}')


def config_of(row: str) -> str:
    """Name of the config of a row, ``'sade_tta_r32, forward test set'``."""
    return row.partition(', ')[0]


def link(source: dict, row: str) -> str:
    """Method of a row, linked to its config."""
    config, comma, remark = row.partition(', ')
    return f'[{source["recipes"][config]}]({config}.py){comma}{remark}'


def markdown(source: dict, record: dict) -> str:
    """A table in Markdown."""
    columns, rows = [*record['columns']], {row: [*cells] for row, cells in record['rows'].items()}
    if record.get('paper') == 'true':
        columns.append('paper')
        for row, cells in rows.items():
            cells.append(source['paper_figures']['rows'].get(row, ['-'])[0])
    lines = [['method', *columns], ['---', *('---:' for _ in columns)]]
    lines += [[link(source, row), *cells] for row, cells in rows.items()]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def readme_block(source: dict) -> str:
    """Return the text between the marks of the README."""
    parts = []
    for record in source['results']:
        if 'schedule' in record:
            seeds = ('seed ' if record['seeds'].isdigit() else 'seeds ') + record['seeds']
            parts.append(f'**Our results.** {record["schedule"]}; {seeds}; {record["hardware"]}; {record["date"]}.')
        parts.append(markdown(source, record))
        if 'command' in record:
            parts.append(f'```bash\n{record["command"].strip()}\n```')
    papers = [source['paper_figures']] if 'paper_figures' in source else []
    for record in papers:
        parts += ['**Figures of the papers.**', markdown(source, record), record['sources'].strip()]
    ours, theirs = (
        {config_of(row) for record in records for row in record['rows']} for records in (source['results'], papers)
    )
    rest = [link(source, name) for name, method in source['recipes'].items() if method and name not in ours | theirs]
    rest = ['those that only the table of the papers lists'] * bool(theirs - ours) + rest
    if rest:
        parts.append(f'Recipes without a figure of ours: {"; ".join(rest)}.')
    return '\n\n'.join(parts) + '\n'


def metafile(folder: Path, source: dict) -> str:
    """Content of the metafile: the recipes, and the means of our figures."""
    dataset = source.get('dataset', source['name'])
    collection = {'Name': source['name'], 'Metadata': {'Training Data': dataset}}
    collection |= {'Paper': source['paper']} if 'paper' in source else {}
    collection['README'] = f'configs/{folder.name}/README.md'
    models = []
    for name in source['recipes']:
        models.append({'Name': f'{name}_{folder.name}', 'In Collection': source['name']})
        models[-1]['Config'] = f'configs/{folder.name}/{name}.py'
        results = []
        for record in source['results']:
            for row, cells in record['rows'].items():
                if config_of(row) == name:
                    where = row.replace(name, record.get('dataset', dataset), 1)
                    figures = {c: float(m[0]) for c, cell in zip(record['columns'], cells) if (m := FIGURE.match(cell))}
                    results.append({'Task': source['task'], 'Dataset': where, 'Metrics': figures})
        if results:
            models[-1]['Results'] = results
    content = {'Collections': [collection], 'Models': models}
    return HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def zoo(root: Path) -> dict[Path, str]:
    """Content of all READMEs, metafiles and the model index of a checkout."""
    folders = sorted({path.parent for path in (root / 'configs').glob('[!_]*/*.py')})
    files = {}
    for folder in folders:
        source = read_results(folder)
        before, begin, rest = (folder / 'README.md').read_text(encoding='utf-8').partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise ValueError(f'{folder / "README.md"}: expected the lines {BEGIN.strip()} and {END.strip()}')
        files[folder / 'README.md'] = before + begin + readme_block(source) + end + after
        files[folder / 'metafile.yml'] = metafile(folder, source)
    index = ''.join(f'  - configs/{folder.name}/metafile.yml\n' for folder in folders)
    return files | {root / 'model-index.yml': f'{HEADER}Import:\n{index}'}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing, fail if a file is out of date')
    parser.add_argument('--root', type=Path, default=ROOT, help='the checkout')
    args = parser.parse_args(argv)
    try:
        files = zoo(args.root)
    except (OSError, ValueError) as e:
        sys.exit(str(e))
    old = [path for path, text in files.items() if not path.exists() or path.read_text(encoding='utf-8') != text]
    if args.check:
        sys.exit('\n'.join(f'{path} is out of date: run tools/analysis_tools/model_zoo.py' for path in old) or 0)
    for path in old:
        path.write_text(files[path], encoding='utf-8')
        print(f'Wrote {path}')


if __name__ == '__main__':
    main()
