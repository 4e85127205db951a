"""The page: sections, style and plotly.js in one file."""

from collections.abc import Sequence
from datetime import date
from html import escape
from pathlib import Path

from plotly.offline import get_plotlyjs

from ltmm.evaluation.reports.run_comparison import check_same_classes
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.errors import InputError
from ltmm.utils.page_style import PAGE_STYLE
from ltmm.version import __version__

from .prediction_sections import Pictures
from .run_files import group_by_config, read_run_files
from .sections import SECTIONS

__all__ = ['write_report']

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
ON_LOAD = "addEventListener('load', () => dispatchEvent(new Event('resize')))"  # plots learn the width of their column
STYLE = """
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 14px; margin-top: 14px; }
nav a { color: var(--accent); text-decoration: none; }
nav a:hover { text-decoration: underline; }
tbody th { font-weight: 500; min-width: 150px; max-width: 340px; overflow-wrap: anywhere; }
td:has(code) { min-width: 150px; }
.best { font-weight: 700; }
.best small { font-weight: 400; }
.none { color: #9aa4b1; font-family: system-ui, sans-serif; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 8px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 12px 24px; }
.plot { min-width: 0; overflow: hidden; }
.thumbs { white-space: nowrap; padding: 4px 0; }
.thumbs img { width: 48px; height: 48px; object-fit: cover; border-radius: 5px; margin-right: 5px; }
.thumbs img.whole { width: auto; height: 80px; border-radius: 0; }
@media print { nav { display: none; } }
"""


def write_report(
    folders: Sequence[str | Path], out: str | Path, title: str = '', pictures: Pictures | None = None
) -> Path:
    """Write one HTML page about runs; it loads nothing from elsewhere.

    Args:
        folders: Work dirs of ``tools/train.py`` or ``run_table.py``, of one kind and of the same classes. Runs whose
            configs differ in the seed only are taken together.
        out: File to write, .html.
        title: Title of the page. Default: the names of the methods.
        pictures: Function of an image path and the position in the test set that returns the path of a picture, its
            pixels, (H, W) or (H, W, 3), RGB, or None. Default: the path.
    """
    out = Path(out)
    if out.suffix not in ('.html', '.htm'):
        raise InputError(f'Expected a .html file, but got {out}.')
    runs = [read_run_files(folder) for folder in {Path(folder).resolve(): Path(folder) for folder in folders}.values()]
    kinds = sorted({run.report.metric for run in runs})
    if len(kinds) > 1:
        raise InputError(f'Expected runs of one kind, but got those of {" and ".join(kinds)}. Write a report of each.')
    check_same_classes([(str(run.folder), run.report.names) for run in runs], in_order=True)
    methods = group_by_config(runs)
    parts = [section(methods, pictures or (lambda path, index: path)) for section in SECTIONS]
    names = [method.name for method in methods]
    title = title or (', '.join(names) if len(names) <= 3 else f'{names[0]} and {len(names) - 1} more')
    links = ''.join(f'<a href="#s{i}">{name}</a>' for i, (name, _) in enumerate(parts))
    sections = ''.join(f'<section id="s{i}"><h2>{name}</h2>{html}</section>' for i, (name, html) in enumerate(parts))
    counted = [f'{len(methods)} method{"s" * (len(methods) > 1)}', f'{len(runs)} run{"s" * (len(runs) > 1)}']
    counted += [f'{len(runs[0].report.names):,} classes']
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f'<title>{escape(title)}</title><style>{PAGE_STYLE}{STYLE}</style><script>{get_plotlyjs()}</script></head><body>'
        f'<header><h1>{escape(title)}</h1><p>{", ".join(counted)}</p><nav>{links}</nav></header>'
        f'<main>{sections}</main><footer>Written by ltmm {__version__} on {date.today()}.</footer>'
        f'<script>{ON_LOAD}</script></body></html>\n'
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    AtomicLocalBackend().put(page.encode(errors='replace'), out)  # names of folders need not be valid text
    return out
