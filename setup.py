"""What setup.cfg cannot say: configs and tools belong into the package as ``ltmm/.mim``, where MMEngine looks."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.egg_info import egg_info

ROOT = Path(__file__).resolve().parent
SHIPPED = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Copies configs and tools into the build; an editable installation gets links to them."""

    def run(self) -> None:
        super().run()
        mim = Path(ROOT if self.editable_mode else self.build_lib, 'ltmm', '.mim')
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in SHIPPED:
            if self.editable_mode:
                (mim / name).symlink_to(Path('..', '..', name))
            elif (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, mim / name, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy2(ROOT / name, mim / name)


class EggInfoWithModels(egg_info):
    """Adds the models to the metadata, for ``mim search``.

    onedl-mim takes the first file that pip lists for the folder of the package: in a wheel of ltmm, that of metadata.
    """

    def run(self) -> None:
        super().run()
        parts = dict(Collections='', Models='')
        for name in re.findall(r'^  - (\S+)', (ROOT / 'model-index.yml').read_text(), re.MULTILINE):
            _, collections, models = re.split(r'^(?:Collections|Models):\n', (ROOT / name).read_text(), flags=re.M)
            parts['Collections'] += collections
            parts['Models'] += models
        text = ''.join(f'{key}:\n{value}' for key, value in parts.items())
        Path(self.egg_info, 'model-index.yml').write_text(text)


setup(cmdclass=dict(build_py=BuildWithMim, egg_info=EggInfoWithModels))
