"""Panels to touch an idea: a plain function that draws, and a slider for each of its arguments."""

import base64
import io
from collections.abc import Callable

import ipywidgets
from IPython.display import display
from matplotlib.figure import Figure

CONTROL = {"style": {"description_width": "130px"}, "layout": {"width": "330px"}}


def to_png(figure: Figure) -> bytes:
    """The figure as PNG bytes, 100 dots per inch, without pyplot (safe in callbacks)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def control(name: str, values: tuple | list) -> ipywidgets.ValueWidget:
    """A slider for (low, high, step, start), whole numbers or not; a dropdown for a list."""
    if isinstance(values, list):
        return ipywidgets.Dropdown(options=values, description=name, **CONTROL)
    low, high, step, start = values
    whole = all(isinstance(value, int) for value in values)
    slider = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return slider(min=low, max=high, step=step, value=start, description=name,
                  continuous_update=False, **CONTROL)


def explore(draw: Callable[..., Figure], **controls: tuple | list) -> None:
    """Show `draw(**values)` beside a control per argument; redraw when one changes.

    draw returns a matplotlib.figure.Figure. controls: name=(low, high, step, start) or
    name=[choices]. An error in draw is shown under the controls and the last picture stays. The
    output carries the first picture as a PNG too, for pages that drop widgets.
    """
    inputs = {name: control(name, values) for name, values in controls.items()}
    note = ipywidgets.HTML()
    first = to_png(draw(**{name: widget.value for name, widget in inputs.items()}))
    image = ipywidgets.Image(value=first, format="png", layout={"max_width": "640px"})

    def redraw(_: dict) -> None:
        try:
            image.value = to_png(draw(**{name: w.value for name, w in inputs.items()}))
            note.value = ""
        except Exception as error:  # whatever it is, the reader sees it and can go on
            note.value = f"<b>{type(error).__name__}:</b> {error}"

    for widget in inputs.values():
        widget.observe(redraw, names="value")
    panel = ipywidgets.HBox([ipywidgets.VBox([*inputs.values(), note]), image])
    view = {"version_major": 2, "version_minor": 0, "model_id": panel.model_id}
    display({"application/vnd.jupyter.widget-view+json": view,
             "image/png": base64.b64encode(first).decode(),
             "text/plain": f"a panel with the controls {', '.join(inputs)}"}, raw=True)
