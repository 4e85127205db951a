"""Run the Python snippets of a page of the docs as they stand there.

    page = Page('docs/start/pytorch.md')
    page.run('Five lines')           # those under one heading, in order, in one namespace; no heading: the whole page
    page.config('Your boxes')        # text of a config, a snippet that begins with ``_base_``; `run` leaves these out

Snippets that register something run within ``with registries_restored():``.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from toy import ROOT

from ltmm.registry import DATA_SAMPLERS, DATASETS, METRICS, MODELS, STAGES

REGISTRIES = (DATASETS, DATA_SAMPLERS, METRICS, MODELS, STAGES)
FENCE = re.compile(r'^( *)```python\n(.*?)^\1```$', re.M | re.S)


class Page:
    """A page of Markdown in the repository, by headings of any level."""

    def __init__(self, path: str) -> None:
        self.path = ROOT / path
        text = self.path.read_text(encoding='utf-8')
        starts = [m for m in re.finditer(r'^#{1,4} (.+)$', text, re.M) if text[: m.start()].count('\n```') % 2 == 0]
        ends = [m.start() for m in starts[1:]] + [len(text)]
        self.sections = {m[1]: text[m.end() : end] for m, end in zip(starts, ends)}

    def snippets(self, heading: str | None = None) -> list[str]:
        """Return the Python snippets under a heading, or of the page; configs too."""
        sections = list(self.sections.values()) if heading is None else [self.sections[heading]]
        return [re.sub(rf'^{m[1]}', '', m[2], flags=re.M) for text in sections for m in FENCE.finditer(text)]

    def config(self, heading: str | None = None) -> str:
        """Return the text of the first config under a heading, or of the page."""
        return next(code for code in self.snippets(heading) if is_config(code))

    def run(self, heading: str | None = None, namespace: dict[str, Any] | None = None) -> dict[str, Any]:
        """Execute the snippets that are no configs; return what they defined."""
        namespace = {'__name__': 'my_module', **(namespace or {})}
        codes = [code for code in self.snippets(heading) if not is_config(code)]
        if not codes:
            raise ValueError(f'{self.path}: no Python snippet under {heading or "any heading"}')
        for code in codes:
            exec(compile(code, str(self.path), 'exec'), namespace)
        return namespace


def is_config(code: str) -> bool:
    """Whether a snippet is a config of MMEngine, which inherits from another."""
    return bool(re.search(r'^_base_ = ', code, re.M))


def config_of(code: str, folder: Any, name: str = 'mine.py') -> Config:
    """Write a config snippet into a folder and read it as the tools do."""
    path = folder / name
    path.write_text(code, encoding='utf-8')
    return Config.fromfile(path)


@contextmanager
def registries_restored(registries: tuple[Registry, ...] = REGISTRIES) -> Iterator[None]:
    """Remove what is registered within, so that other tests do not see it."""
    for registry in registries:
        registry.import_from_location()
    before = [(registry, set(registry.module_dict)) for registry in registries]
    try:
        yield
    finally:
        for registry, names in before:
            for name in set(registry.module_dict) - names:
                del registry.module_dict[name]
