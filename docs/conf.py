"""Sphinx settings of the site: ``make docs`` writes build/docs/index.html."""

import configparser
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'docs' / '_ext'))

import ltmm  # noqa: E402
from ltmm.utils.console import import_all, quiet_imports  # noqa: E402

with quiet_imports():
    import_all()

setup_cfg = configparser.ConfigParser()
setup_cfg.read(ROOT / 'setup.cfg')

project, author, copyright = 'ltmm', 'the ltmm authors', 'the ltmm authors, Apache-2.0'
version = release = ltmm.__version__
repository_url = setup_cfg.get('metadata', 'url', fallback='')

extensions = [
    'myst_nb',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
    'sphinx_design',
    'api_pages',
    'repository_links',
    'result_tables',
]
exclude_patterns = ['_ext', '_static']

# Pages are GitHub Markdown: headings have GitHub's anchors, and a link to a file of the repository is a plain path.
myst_enable_extensions = ['colon_fence', 'dollarmath']
myst_heading_anchors = 4
nb_execution_mode = 'cache'  # a notebook runs again when its code changes
nb_execution_cache_path = str(ROOT / 'build' / 'notebooks')
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # of a cell, on a busy machine
nb_merge_streams = True
nb_output_stderr = 'remove'  # warnings about the terminal

autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_member_order = 'bysource'
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = False

nitpicky = True  # a reference to a name of ltmm has to lead somewhere; those to other packages stay text
nitpick_ignore_regex = [(r'py:.*', r'(?!ltmm\.).*')]

html_theme = 'furo'
html_title = f'ltmm {version}'
html_static_path = ['_static']
html_css_files = ['wide.css']
html_theme_options = dict(source_repository=f'{repository_url}/', source_branch='main', source_directory='docs/')
if not repository_url:
    del html_theme_options['source_repository']
copybutton_exclude = '.linenos, .gp, .go'

linkcheck_timeout = 10
linkcheck_retries = 2
linkcheck_anchors = False
