"""Sphinx configuration."""

import gwfast

project = "gwfast"
author = "The gwfast developers"
copyright = "2026, the gwfast developers"
version = release = gwfast.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
]
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence"]
bibtex_bibfiles = ["references.bib"]
html_theme = "furo"
html_title = "gwfast"
exclude_patterns = ["_build"]
autodoc_typehints = "none"
numpydoc_show_class_members = False
autosummary_generate = True
