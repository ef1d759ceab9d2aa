"""Sphinx configuration."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import matplotlib

import gwfast

matplotlib.use("agg")

project = "gwfast"
author = "The gwfast developers"
copyright = "2026, the gwfast developers"
version = release = gwfast.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
    "config_fields",
    "layers",
    "methods_table",
    "offline_mathjax",
]
exclude_patterns = ["_build", "_ext", "gallery/*.ipynb", "gallery/*.py", "gallery/*.zip"]

myst_enable_extensions = ["amsmath", "deflist", "dollarmath", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"

html_theme = "furo"
html_title = "gwfast"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_js_files = ["custom.js"]
html_copy_source = False
html_show_sphinx = False

autodoc_typehints = "none"
numpydoc_show_class_members = False
doctest_global_setup = """
import numpy as np, torch, gwfast
from docs_setup import *
from gwfast_llm import gld_loss, uld_loss
"""

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": ["../examples/gallery"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"plot_",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "plot_gallery": True,
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "min_reported_time": 0,
    "remove_config_comments": True,
    "copyfile_regex": "",
    "within_subsection_order": "gallery_order.ByNumber",
    "show_signature": False,
    "default_thumb_file": None,
}
