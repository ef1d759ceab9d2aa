"""The order of the gallery: by the number in the name of a script."""

import re

from sphinx_gallery.sorting import FileNameSortKey


class ByNumber(FileNameSortKey):
    """``plot_10_x.py`` comes after ``plot_9_y.py``."""

    def __call__(self, filename):
        return int(re.findall(r"\d+", filename)[0])
