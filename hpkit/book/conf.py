"""The configuration of the site, for Sphinx; `hpkit.book.site` writes its sources."""

project = "hpkit"
author = "the hpkit authors"

extensions = ["myst_nb", "hpkit.book.site"]
suppress_warnings = ["toc.not_readable"]  # a wheel has no pages beside the notebooks

highlight_language = "none"  # a block says what it is
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3  # a link to a heading works here as it does on GitHub
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # these scripts would come from the network

html_title = "hpkit"
html_theme = "sphinx_book_theme"
html_theme_options = {"navbar_persistent": []}  # one search field is enough
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_math_renderer = "mathml"
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["book.css"]
