"""The page: sections, style and plotly.js in one file."""

from collections.abc import Sequence
from datetime import date
from html import escape
from pathlib import Path

from plotly.offline import get_plotlyjs

from ltmm.evaluation.reports.run_comparison import check_same_classes
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.errors import InputError
from ltmm.version import __version__

from .run_files import group_by_config, read_run_files
from .sections import SECTIONS, Pictures

__all__ = ['write_report']

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
ON_LOAD = "addEventListener('load', () => dispatchEvent(new Event('resize')))"  # plots learn the width of their column
STYLE = """
:root { --ink: #1d2733; --soft: #5b6777; --line: #e3e7ed; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #f6f7f9; font: 16px/1.55 system-ui, -apple-system, sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 40px; padding-bottom: 12px; }
h1 { font-size: 32px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.02em; overflow-wrap: anywhere; }
h2 { font-size: 21px; margin: 0 0 12px; letter-spacing: -0.01em; }
h3 { font-size: 15px; margin: 18px 0 6px; overflow-wrap: anywhere; }
header p, .note, small { color: var(--soft); }
.note { font-size: 14px; margin: 8px 0 0; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 14px; margin-top: 14px; }
nav a { color: var(--accent); text-decoration: none; }
nav a:hover { text-decoration: underline; }
section { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 22px 24px; margin: 16px 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; min-width: 100%; }
th, td { text-align: left; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
thead th { color: var(--soft); font-weight: 500; white-space: nowrap; vertical-align: bottom; }
tbody th { font-weight: 500; min-width: 150px; max-width: 340px; overflow-wrap: anywhere; }
td:has(code) { min-width: 150px; }
tbody tr:last-child > * { border-bottom: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.best { font-weight: 700; }
.best small { font-weight: 400; }
.none { color: #9aa4b1; font-family: system-ui, sans-serif; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 8px; }
code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; overflow-wrap: anywhere; }
details { margin-top: 12px; }
summary { cursor: pointer; font-weight: 500; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 12px 24px; }
.plot { min-width: 0; overflow: hidden; }
.thumbs { white-space: nowrap; padding: 4px 0; }
.thumbs img { width: 48px; height: 48px; object-fit: cover; border-radius: 5px; margin-right: 5px; }
.thumbs img.whole { width: auto; height: 80px; border-radius: 0; }
footer { max-width: 1080px; margin: 0 auto; padding: 8px 20px 40px; color: var(--soft); font-size: 14px; }
@media (max-width: 640px) {
  header, main { padding-left: 12px; padding-right: 12px; }
  section { padding: 16px 14px; }
  h1 { font-size: 25px; }
}
@media print { body { background: white; } section { break-inside: avoid; } nav { display: none; } }
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
        f'<title>{escape(title)}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body>'
        f'<header><h1>{escape(title)}</h1><p>{", ".join(counted)}</p><nav>{links}</nav></header>'
        f'<main>{sections}</main><footer>Written by ltmm {__version__} on {date.today()}.</footer>'
        f'<script>{ON_LOAD}</script></body></html>\n'
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    AtomicLocalBackend().put(page.encode(errors='replace'), out)  # names of folders need not be valid text
    return out
