"""Tables of measured figures, read at build time from configs/<benchmark>/results.yml and metafile.yml.

    ```{results} cifar100_lt
    :rows: ce_r32, balanced_softmax_r32
    :columns: top-1, many, few
    ```

    ```{model-zoo}
    ```

``results`` shows the means of some rows of our first table, with setting and date; ``model-zoo`` every config that has
a figure, one section per benchmark.
"""

import sys
from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / 'tools' / 'analysis_tools'))

from model_zoo import config_of, read_results  # noqa: E402  (the tool that writes the tables of the READMEs)


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table in Markdown, numbers to the right."""
    rule = ['---', *('---:' for _ in header[1:])]
    return [f'| {" | ".join(cells)} |' for cells in (header, rule, *rows)]


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(',')]


class MarkdownDirective(SphinxDirective):
    """Base of directives that write Markdown."""

    def link(self, path: Path) -> str:
        """Return the path of a file relative to the page."""
        page = Path(self.env.doc2path(self.env.docname))
        return '/'.join(
            ['..'] * (len(page.relative_to(self.env.srcdir).parts) - 1) + ['..', str(path.relative_to(ROOT))]
        )

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes('\n'.join(self.markdown()), allow_section_headings=True)

    def markdown(self) -> list[str]:
        raise NotImplementedError


class ResultsDirective(MarkdownDirective):
    """A part of a table of results.yml."""

    required_arguments = 1
    option_spec = dict(rows=names, columns=names, record=directives.nonnegative_int)

    def markdown(self) -> list[str]:
        folder = ROOT / 'configs' / self.arguments[0]
        self.env.note_dependency(str(folder / 'results.yml'))
        source = read_results(folder)
        record = source['results'][self.options.get('record', 0)]
        columns, rows = self.options.get('columns', record['columns']), self.options.get('rows', [*record['rows']])
        if missing := [c for c in columns if c not in record['columns']] + [r for r in rows if r not in record['rows']]:
            raise self.error(f'{folder.name}/results.yml has no {", ".join(missing)}')
        cells = []
        for row in rows:
            figures = dict(zip(record['columns'], record['rows'][row]))
            config, comma, remark = config_of(row), *row.partition(', ')[1:]
            method = f'[{source["recipes"][config]}]({self.link(folder / f"{config}.py")}){comma}{remark}'
            cells.append([method, *(figures[c].partition(' ±')[0] for c in columns)])
        readme = f'[{source["name"]}: all rows and the command]({self.link(folder / "README.md")})'
        setting = [record[key] for key in ('schedule', 'hardware', 'date') if key in record]
        return [*table(['method', *columns], cells), '', f'{readme}. {"; ".join(setting)}.']


class ModelZooDirective(MarkdownDirective):
    """Every config with its figures."""

    def markdown(self) -> list[str]:
        lines = []
        for path in sorted((ROOT / 'configs').glob('*/metafile.yml')):
            self.env.note_dependency(str(path))
            content = yaml.safe_load(path.read_text(encoding='utf-8'))
            (collection,) = content['Collections']
            source = f'Data, recipes and commands: [{path.parent.name}]({self.link(path.parent / "README.md")})'
            if paper := collection.get('Paper'):
                source += f'; [{paper["Title"]}]({paper["URL"]})'
            lines += ['', f'## {collection["Name"]}', '', f'{source}.', '']
            lines += self.tables(content['Models'])
        return lines

    def tables(self, models: list[dict]) -> list[str]:
        """Return one table per data set and set of metrics, then the configs without a figure."""
        groups: dict[tuple, list] = {}
        for model in models:
            link = f'[`{Path(model["Config"]).stem}`]({self.link(ROOT / model["Config"])})'
            for result in model.get('Results', []):
                key = (result['Dataset'].partition(', ')[0], tuple(result['Metrics']))
                cells = [f'{value:.2f}' for value in result['Metrics'].values()]
                groups.setdefault(key, []).append([link, result['Dataset'].partition(', ')[2], *cells])
        lines = []
        for (dataset, metrics), rows in groups.items():
            lines += [*table([dataset, 'setting', *metrics], rows), '']
        rest = [f'`{Path(model["Config"]).stem}`' for model in models if not model.get('Results')]
        return [*lines, f'Without a figure of ours: {", ".join(rest)}.', ''] if rest else lines


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive('results', ResultsDirective)
    app.add_directive('model-zoo', ModelZooDirective)
    return dict(parallel_read_safe=True)
