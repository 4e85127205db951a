"""The directive ``api``: reference of everything that a package of ltmm exports.

    ```{api} ltmm.datasets.samplers
    ```

A table of the classes and functions that it exports, by which name a config finds them and what they do, then the
docstring of each. ``:without: wrappers, labels`` leaves subpackages out that have a section of their own.

Docstrings name what they refer to as a reader would, ``:class:`BalancedSoftmaxLoss```, and list their sources as
``[0] Ren et al., ...`` with indented lines after it. Both are turned into reStructuredText here.
"""

import inspect
import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module

from docutils import nodes
from mmengine.registry import Registry
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from ltmm import registry as registries

# "[0] Ren et al., ..." or "[1] github.com/..." and the indented lines after it
SOURCE = re.compile(r'(?m)^( *)(\[\w+\] (?:[A-Z]|github).*(?:\n\1 +\S.*)*)')


def exported(module_name: str, without: Sequence[str] = ()) -> dict[str, object]:
    """Return the public classes and functions of a module by name, in alphabetical order."""
    module = import_module(module_name)
    left_out = tuple(f'{module_name}.{name}' for name in without)
    names = set(getattr(module, '__all__', vars(module)))
    names.discard('lazy_attributes')
    for package in registries.ALL_PACKAGES:  # imported when something in them is needed
        if package.rpartition('.')[0] == module_name:
            own = import_module(package)
            names.update(name for name in getattr(own, '__all__', ()) if getattr(own, name) in registered())
    objects = {name: getattr(module, name) for name in sorted(names, key=str.lower) if not name.startswith('_')}
    return {
        name: thing
        for name, thing in objects.items()
        if (inspect.isclass(thing) or inspect.isfunction(thing))
        and is_ours(thing)
        and not thing.__module__.startswith(left_out or '!')
    }


def is_ours(thing: object) -> bool:
    """Whether a class or function is of ltmm."""
    return thing.__module__.startswith('ltmm.')


@cache
def registered() -> dict[object, str]:
    """Return the name of the registry of each registered class."""
    all_registries = {name: r for name, r in vars(registries).items() if isinstance(r, Registry)}
    for each in all_registries.values():
        each.import_from_location()
    return {cls: name for name, each in all_registries.items() for cls in each.module_dict.values() if is_ours(cls)}


def summary(thing: object) -> str:
    """Return the first line of a docstring in MyST, for a cell of a table."""
    line = (inspect.getdoc(thing) or '').partition('\n')[0].replace('|', '\\|')
    return re.sub(r':(\w+):(?=`)', lambda m: '{math}' if m[1] == 'math' else f'{{py:{m[1]}}}', line)


class ApiDirective(SphinxDirective):
    """Write the reference of a package."""

    required_arguments = 1
    option_spec = dict(without=lambda text: re.split(r',\s*', text))

    def run(self) -> list[nodes.Node]:
        things, where = exported(self.arguments[0], self.options.get('without', ())), registered()
        lines = ['| | in a config | |', '|---|---|---|']
        for name, thing in things.items():
            in_config = f"{where[thing]}: `type='ltmm.{name}'`" if thing in where else ''
            lines.append(f'| {{py:obj}}`{name} <{thing.__module__}.{name}>` | {in_config} | {summary(thing)} |')
        lines += ['', '```{eval-rst}']
        for name, thing in things.items():
            if inspect.isclass(thing):
                lines += [f'.. autoclass:: {thing.__module__}.{name}', '   :members:', '   :show-inheritance:', '']
            else:
                lines += [f'.. autofunction:: {thing.__module__}.{name}', '']
        lines.append('```')
        return self.parse_text_to_nodes('\n'.join(lines))


def list_sources(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Make a list of the sources of a docstring."""
    text = SOURCE.sub(lambda m: f'{m[1]}- ' + re.sub(r'\n +', ' ', m[2]), '\n'.join(lines))
    lines[:] = re.sub(r'(?m)^( *)(?!- \[)(\S.*)\n( *- \[)', r'\1\2\n\n\3', text).split('\n')


def find_by_short_name(
    app: Sphinx, env: BuildEnvironment, node: nodes.Element, content: nodes.Element
) -> nodes.Node | None:
    """Resolve a reference to a name of ltmm that is not written in full; one that is on no page becomes text."""
    target = node.get('reftarget', '').removesuffix('()')
    if node.get('refdomain') != 'py' or not target:
        return None
    domain, parts = env.get_domain('py'), target.split('.')
    for depth in (1, 2):
        found = [name for name in domain.objects if name.split('.')[-depth:] == parts[-depth:]]
        if len(found) == 1 and (len(parts) == depth or target.startswith('ltmm.')):
            place = domain.objects[found[0]]
            return make_refnode(app.builder, node['refdoc'], place.docname, place.node_id, content, found[0])
    return content if target.startswith('ltmm.') and exists(target) else None


def exists(target: str) -> bool:
    """Whether a dotted name is a module of ltmm or something in one."""
    for i in range(target.count('.') + 1, 0, -1):
        parts = target.split('.')
        try:
            thing = import_module('.'.join(parts[:i]))
            for part in parts[i:]:
                thing = getattr(thing, part)
        except (ImportError, AttributeError):
            continue
        return True
    return False


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive('api', ApiDirective)
    app.connect('autodoc-process-docstring', list_sources, priority=100)  # before napoleon
    app.connect('missing-reference', find_by_short_name)
    return dict(parallel_read_safe=True)
