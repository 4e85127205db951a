"""The report on the data of a config, as text and as a self-contained HTML page."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ltmm.utils.page_style import PAGE_STYLE

from .finding import Finding
from .parts import Part

__all__ = ['Report']

SHOWN = 5  # examples per finding in text
SHOWN_IN_PAGE = 50
EDGES = (0, 32, 64, 128, 256, 512, 1024, 2048, 4096)  # pixels of the longer side
COLORS = dict(error='#b3261e', warning='#9a6700', note='#57606a')
STYLE = """
li details { margin: 0; }
.long { max-height: 32rem; overflow: auto; }
.bar { width: 16rem; }
.bar div { background: var(--accent); height: .8rem; min-width: 1px; }
.zero { color: #b3261e; font-weight: 600; }
li ul { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
"""


@dataclass
class Report:
    """Findings, numbers and advice on the data of a config.

    Args:
        title: Name of the config.
        parts: Training, validation and test data.
        findings: What is wrong or worth a look, errors first.
        advice: Sentences on the method to start with.
        scanned: Image files that were read, of all.
    """

    title: str
    parts: list[Part]
    findings: list[Finding]
    advice: list[str]
    scanned: tuple[int, int]

    @property
    def num_errors(self) -> int:
        """Number of findings that make results wrong or stop a run."""
        return sum(finding.level == 'error' for finding in self.findings)

    def text(self, max_rows: int = 20) -> str:
        """Return the report for the console; ``max_rows`` of the class table."""
        lines = [self._summary(), '']
        for finding in self.findings:
            lines.append(f'{finding.level.upper()}  {finding.text}')
            lines += [f'    {example}' for example in finding.examples[:SHOWN]]
            if len(finding.examples) > SHOWN:
                lines.append(f'    ... and {len(finding.examples) - SHOWN} more')
        if not self.findings:
            lines.append('Nothing found.')
        header, rows = self._class_rows()
        shown = rows if len(rows) <= max_rows else [*rows[: max_rows // 2], *rows[-(max_rows // 2) :]]
        width = max(len(str(row[0])) for row in [header, *shown])
        lines += ['', 'Images per class' + f' ({len(shown)} of {len(rows)})' * (len(shown) < len(rows))]
        lines += [f'{row[0]:{width}}' + ''.join(f'{cell:>9}' for cell in row[1:]) for row in [header, *shown]]
        lines += ['', 'Longer side of the images, pixels'] * bool(self._sizes())
        lines += [f'{label:>12}{count:8}' for label, count in self._sizes()]
        lines += ['', 'Where to start', *self.advice]
        return '\n'.join(lines)

    def page(self) -> str:
        """Return the report as an HTML page without other files."""
        title = html.escape(f'Data of {self.title}')
        advice = ''.join(f'<li>{html.escape(line)}</li>' for line in self.advice)
        sections = [
            ('Findings', self._page_findings()),
            ('Images per class', self._page_classes()),
            ('Longer side of the images, pixels', self._page_sizes()),
            ('Where to start', f'<ul>{advice}</ul>'),
        ]
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<title>{title}</title><style>{PAGE_STYLE}{STYLE}</style></head><body>'
            f'<header><h1>{title}</h1><p>{html.escape(self._summary())}</p></header><main>'
            + ''.join(f'<section><h2>{name}</h2>{content}</section>' for name, content in sections if content)
            + '</main></body></html>\n'
        )

    def _summary(self) -> str:
        parts = ', '.join(
            f'{part.name} '
            + ('cannot be loaded' if part.failed else f'{len(part.table):,} image{"s" * (len(part.table) != 1)}')
            for part in self.parts
        )
        levels = [(sum(f.level == level for f in self.findings), level) for level in COLORS]
        found = ', '.join(f'{count} {level}{"s" * (count != 1)}' for count, level in levels)
        done, total = self.scanned
        files = (
            f'{done:,} of {total:,} image files were read' if total else 'the images are not files and were not read'
        )
        return f'{parts}; {files}. {found}.'

    def _class_rows(self) -> tuple[list, list[list]]:
        """Return the header and the rows of the class table, most frequent class first."""
        train = self.parts[0]
        loaded = [part for part in self.parts if not part.failed and part.table.num_classes == train.table.num_classes]
        names = train.table.class_names or tuple(map(str, range(train.table.num_classes)))
        shots = [''] * len(names)
        if train.table.image_counts.any():
            shots = train.table.class_distribution().shots().names()
        columns = [part.table.image_counts for part in loaded]
        order = np.argsort(-columns[0], kind='stable')
        header = ['class', 'shot', *(part.name for part in loaded)]
        return header, [[names[c], shots[c], *(int(column[c]) for column in columns)] for c in order]

    def _sizes(self) -> list[tuple[str, int]]:
        """Return the number of images by the longer side."""
        facts = {path: fact for part in self.parts for path, fact in part.facts.items() if not fact.problem}
        longer = [max(fact.size) for fact in facts.values()]
        counts = np.histogram(longer, [*EDGES, np.inf])[0].tolist()
        labels = [f'{low} to {high - 1}' for low, high in pairwise(EDGES)] + [f'{EDGES[-1]} and more']
        return [(label, count) for label, count in zip(labels, counts) if count]

    def _page_findings(self) -> str:
        items = []
        for finding in self.findings:
            text = f'<b style="color:{COLORS[finding.level]}">{finding.level}</b> {html.escape(finding.text)}'
            if finding.examples:
                rows = ''.join(f'<li>{html.escape(example)}</li>' for example in finding.examples[:SHOWN_IN_PAGE])
                more = len(finding.examples) - SHOWN_IN_PAGE
                rows += f'<li>... and {more} more</li>' if more > 0 else ''
                text = f'<details><summary>{text}</summary><ul>{rows}</ul></details>'
            items.append(f'<li>{text}</li>')
        return f'<ul>{"".join(items)}</ul>' if items else '<p>Nothing found.</p>'

    def _page_classes(self) -> str:
        header, rows = self._class_rows()
        most = max((row[2] for row in rows), default=0) or 1
        cells = ''.join(f'<th{" class=n" * (i > 1)}>{html.escape(str(cell))}</th>' for i, cell in enumerate(header))
        lines = [f'<thead><tr>{cells}<th></th></tr></thead><tbody>']
        for row in rows:
            cells = f'<td>{html.escape(str(row[0]))}</td><td>{row[1]}</td>'
            cells += ''.join(f'<td class="n{" zero" * (cell == 0)}">{cell:,}</td>' for cell in row[2:])
            lines.append(f'<tr>{cells}<td class=bar><div style="width:{100 * row[2] / most:.1f}%"></div></td></tr>')
        return f'<div class="scroll long"><table>{"".join(lines)}</tbody></table></div>'

    def _page_sizes(self) -> str:
        sizes = self._sizes()
        if not sizes:
            return ''
        most = max(count for _, count in sizes)
        rows: Sequence[str] = [
            f'<tr><td>{label}</td><td class=n>{count:,}</td>'
            f'<td class=bar><div style="width:{100 * count / most:.1f}%"></div></td></tr>'
            for label, count in sizes
        ]
        return f'<table>{"".join(rows)}</table>'
