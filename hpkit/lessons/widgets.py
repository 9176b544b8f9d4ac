"""Panels to try an idea out: a function that draws, a control for each argument."""

import base64
import io
import sys
from collections.abc import Callable, Iterable
from html import escape

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

from hpkit.matching.images import read_image

CONTROL = {"style": {"description_width": "150px"}, "layout": {"width": "340px"}}


def to_png(figure: Figure) -> bytes:
    """The figure as PNG bytes, 100 dots per inch.

    It is made without pyplot, so it is safe in callbacks.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def control(name: str, values: tuple | list | np.ndarray) -> ipywidgets.ValueWidget:
    """A control that fits the values: a slider, a dropdown or an upload button.

    (low, high, step, start), whole numbers or not, gives a slider, and a list a
    dropdown. A photo, an array, gives a button to put a file of the reader's own in its
    place.
    """
    if isinstance(values, list):
        return ipywidgets.Dropdown(options=values, description=name, **CONTROL)
    if isinstance(values, np.ndarray):
        return ipywidgets.FileUpload(
            accept="image/*,.heic,.heif",
            multiple=False,
            description=f"{name} photo",
            layout=CONTROL["layout"],
        )
    low, high, step, start = values
    whole = all(isinstance(value, int) for value in values)
    slider = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return slider(
        min=low,
        max=high,
        step=step,
        value=start,
        description=name,
        continuous_update=False,
        **CONTROL,
    )


def uploaded(value: dict | tuple) -> bytes | None:
    """The last file that a FileUpload holds, None if there is none.

    value: that of ipywidgets 7, {name: {"content": bytes}}, or of 8, ({"content":
    memoryview}, ...).
    """
    files = list(value.values()) if isinstance(value, dict) else list(value)
    return bytes(files[-1]["content"]) if files else None


def _setting(
    widget: ipywidgets.ValueWidget,
    values: tuple | list | np.ndarray,
    read: Callable[[bytes], np.ndarray],
) -> object:
    """What a control says now: a value, or a photo.

    The photo is the given one until a file is there.
    """
    if not isinstance(values, np.ndarray):
        return widget.value
    data = uploaded(widget.value)
    return values if data is None else read(data)


def explore(
    draw: Callable[..., Figure | tuple[Figure, str]],
    *,
    read: Callable[[bytes], np.ndarray] = read_image,
    units: dict[str, str] | None = None,
    **controls: tuple | list | np.ndarray,
) -> None:
    """Show `draw(**values)` beside a control per argument; redraw when one changes.

    draw returns a matplotlib.figure.Figure, or a figure and a sentence, which is shown
    under the controls. units: {name: unit}, for the labels. controls: name=(low, high,
    step, start), name=[choices], or name=photo. A photo is a uint8 (h, w) array until
    the reader puts a file of their own in its place, which `read` makes into an array.
    An error is shown in place of the sentence, and the last picture stays. The output
    carries the first picture as a PNG too, for pages that drop widgets.
    """
    inputs = {}
    for name, values in controls.items():
        unit = f" ({units[name]})" if name in (units or {}) else ""
        inputs[name] = control(f"{name}{unit}", values)
    note = ipywidgets.HTML(layout=CONTROL["layout"])

    def picture() -> bytes:
        now = {name: _setting(w, controls[name], read) for name, w in inputs.items()}
        made = draw(**now)
        figure, said = made if isinstance(made, tuple) else (made, "")
        note.value = escape(said)
        return to_png(figure)

    first = picture()
    image = ipywidgets.Image(value=first, format="png", layout={"max_width": "640px"})
    _redraw_on_change(inputs.values(), image, note, picture)
    panel = ipywidgets.HBox([ipywidgets.VBox([*inputs.values(), note]), image])
    show(panel, first, f"a panel with the controls {', '.join(inputs)}")


def _redraw_on_change(
    inputs: Iterable[ipywidgets.ValueWidget],
    image: ipywidgets.Image,
    note: ipywidgets.HTML,
    picture: Callable[[], bytes],
) -> None:
    def redraw(_: dict) -> None:
        try:
            image.value = picture()
        except Exception as error:  # whatever it is, the reader sees it and can go on
            note.value = f"<b>{type(error).__name__}:</b> {escape(str(error))}"

    for widget in inputs:
        widget.observe(redraw, names="value")


def show(panel: ipywidgets.Widget, picture: bytes, text: str) -> None:
    """Display a panel, with something to show where widgets are dropped.

    There a page shows its picture, and a terminal the text.
    """
    if in_colab():  # which shows no others before it is asked to
        sys.modules["google.colab"].output.enable_custom_widget_manager()
    view = {"version_major": 2, "version_minor": 0, "model_id": panel.model_id}
    display(
        {
            "application/vnd.jupyter.widget-view+json": view,
            "image/png": base64.b64encode(picture).decode(),
            "text/plain": text,
        },
        raw=True,
    )


def in_colab() -> bool:
    """Whether this is Colab, which shows nothing that a thread does.

    Its way to stop is to interrupt the runtime.
    """
    return "google.colab" in sys.modules
