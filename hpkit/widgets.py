"""Panels to touch an idea: a plain function that draws, and a slider for each of its arguments."""

import base64
import io
from collections.abc import Callable
from html import escape

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

from hpkit.images import read_image

CONTROL = {"style": {"description_width": "150px"}, "layout": {"width": "340px"}}


def to_png(figure: Figure) -> bytes:
    """The figure as PNG bytes, 100 dots per inch, without pyplot (safe in callbacks)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def control(name: str, values: tuple | list | np.ndarray) -> ipywidgets.ValueWidget:
    """A slider for (low, high, step, start), whole numbers or not; a dropdown for a list.

    For a photo, an array, a button to put a file of the reader's own in its place.
    """
    if isinstance(values, list):
        return ipywidgets.Dropdown(options=values, description=name, **CONTROL)
    if isinstance(values, np.ndarray):
        return ipywidgets.FileUpload(accept="image/*", multiple=False, description=f"{name} photo",
                                     layout=CONTROL["layout"])
    low, high, step, start = values
    whole = all(isinstance(value, int) for value in values)
    slider = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return slider(min=low, max=high, step=step, value=start, description=name,
                  continuous_update=False, **CONTROL)


def uploaded(value: dict | tuple) -> bytes | None:
    """The last file that a FileUpload holds, None if there is none.

    value: of ipywidgets 7, {name: {"content": bytes}}; of 8, ({"content": memoryview}, ...).
    """
    files = list(value.values()) if isinstance(value, dict) else list(value)
    return bytes(files[-1]["content"]) if files else None


def _setting(widget: ipywidgets.ValueWidget, values: tuple | list | np.ndarray,
             read: Callable[[bytes], np.ndarray]) -> object:
    """What a control says now: a value, or a photo: the given one until a file is there."""
    if not isinstance(values, np.ndarray):
        return widget.value
    data = uploaded(widget.value)
    return values if data is None else read(data)


def explore(draw: Callable[..., Figure | tuple[Figure, str]], *,
            read: Callable[[bytes], np.ndarray] = read_image, units: dict[str, str] | None = None,
            **controls: tuple | list | np.ndarray) -> None:
    """Show `draw(**values)` beside a control per argument; redraw when one changes.

    draw returns a matplotlib.figure.Figure, or one and a sentence, shown under the controls. units:
    {name: unit}, for the labels. controls: name=(low, high, step, start), name=[choices], or
    name=photo, a uint8 (h, w) array until the reader puts an own file in its place, which `read`
    makes into an array. An error is shown in the sentence's place and the last picture stays. The
    output carries the first picture as a PNG too, for pages that drop widgets.
    """
    inputs = {name: control(f"{name} ({units[name]})" if name in (units or {}) else name, values)
              for name, values in controls.items()}
    note = ipywidgets.HTML(layout=CONTROL["layout"])

    def picture() -> bytes:
        made = draw(**{name: _setting(widget, controls[name], read)
                       for name, widget in inputs.items()})
        figure, note.value = (made[0], escape(made[1])) if isinstance(made, tuple) else (made, "")
        return to_png(figure)

    first = picture()
    image = ipywidgets.Image(value=first, format="png", layout={"max_width": "640px"})

    def redraw(_: dict) -> None:
        try:
            image.value = picture()
        except Exception as error:  # whatever it is, the reader sees it and can go on
            note.value = f"<b>{type(error).__name__}:</b> {escape(str(error))}"

    for widget in inputs.values():
        widget.observe(redraw, names="value")
    panel = ipywidgets.HBox([ipywidgets.VBox([*inputs.values(), note]), image])
    show(panel, first, f"a panel with the controls {', '.join(inputs)}")


def show(panel: ipywidgets.Widget, picture: bytes, text: str) -> None:
    """Display a panel; where widgets are dropped a page shows its picture, a terminal the text."""
    view = {"version_major": 2, "version_minor": 0, "model_id": panel.model_id}
    display({"application/vnd.jupyter.widget-view+json": view,
             "image/png": base64.b64encode(picture).decode(), "text/plain": text}, raw=True)
