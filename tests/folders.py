"""Folders for the data of a test's own stores."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from countroom.embedded.postgres import place_of_cluster


@contextmanager
def data_folder() -> Iterator[Path]:
    """A folder for data; with it goes what root's PostgreSQL had to keep elsewhere."""
    folder = Path(tempfile.mkdtemp(prefix="countroom-tests-"))
    folder.chmod(0o711)  # so that PostgreSQL, not root, may walk through
    try:
        yield folder / "data"
    finally:
        if (folder / "data" / "postgresql.json").exists():
            shutil.rmtree(place_of_cluster(folder / "data", print).parent)
        shutil.rmtree(folder)
