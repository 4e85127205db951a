"""Links of Markdown pages to files of the repository that are no pages: ``[the loss](../ltmm/models/losses/base.py)``.

On GitHub such a link works as it stands. On the site it leads to the file at the repository's URL, which is that of
setup.cfg; without one the text stays. A file that doesn't exist is a warning, which ``make docs`` turns into an error.
"""

from pathlib import Path
from urllib.parse import urldefrag

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
logger = logging.getLogger(__name__)


class RepositoryLinks(SphinxTransform):
    """Replace the references that MyST leaves for files outside of docs/."""

    default_priority = 5

    def apply(self) -> None:
        page = Path(self.env.doc2path(self.env.docname)).resolve()
        references = [
            *self.document.findall(addnodes.download_reference),
            *self.document.findall(addnodes.pending_xref),
        ]
        for node in references:
            path, anchor = urldefrag(node.get('reftarget', ''))
            target = (page.parent / path).resolve()
            if not path or '://' in path or not target.is_relative_to(ROOT) or target.is_relative_to(ROOT / 'docs'):
                continue
            target = target if target.exists() else target.with_name(f'{target.name}.md')  # MyST drops the suffix
            anchor = anchor or node.get('reftargetid') or ''
            if not target.exists():
                if '/' in path:
                    logger.warning('no file %s in the repository', path, location=node, type='ltmm', subtype='link')
                continue
            node.replace_self(self.reference(node, target, anchor))

    def reference(self, node: nodes.Element, target: Path, anchor: str) -> nodes.Element:
        """Return a link to a file of the repository, with the text of the node."""
        url = self.config.repository_url
        if not url:
            return nodes.inline('', '', *node.children)
        kind = 'tree' if target.is_dir() else 'blob'
        uri = f'{url}/{kind}/main/{target.relative_to(ROOT).as_posix()}' + (f'#{anchor}' if anchor else '')
        return nodes.reference('', '', *node.children, refuri=uri, internal=False)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_config_value('repository_url', '', 'env')
    app.add_transform(RepositoryLinks)
    return dict(parallel_read_safe=True)
