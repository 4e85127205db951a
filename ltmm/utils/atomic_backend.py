"""A file backend with atomic writes."""

import os
import tempfile

from mmengine.fileio import LocalBackend, register_backend

__all__ = ['AtomicLocalBackend']


@register_backend('ltmm.atomic')
class AtomicLocalBackend(LocalBackend):
    """The local disk with atomic writes: a file is complete or does not exist."""

    def put(self, obj: bytes | memoryview, filepath: str | os.PathLike) -> None:
        """Write ``obj`` to a temporary file, then rename it; after an error, the old file is untouched."""
        folder = os.path.dirname(os.path.abspath(filepath))
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f'.{os.path.basename(filepath)}.', suffix='.part', dir=folder)
        try:
            with os.fdopen(handle, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, filepath)
        except BaseException:
            os.unlink(temporary)
            raise

    def put_text(self, obj: str, filepath: str | os.PathLike, encoding: str = 'utf-8') -> None:
        """Write a text, see :meth:`put`."""
        self.put(obj.encode(encoding), filepath)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
