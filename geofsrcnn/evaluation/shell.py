"""Pages that stand alone: templates filled with text, which stays text whatever it holds."""

from __future__ import annotations

from typing import Any

from geofsrcnn.errors import need, printable


def need_report() -> None:
    """Refuse in one line where what draws and writes pages is not installed.

    Raises
    ------
    UsageError
        With what to install.
    """
    need("report", "jinja2", "matplotlib.style")


def render_page(template: str, **values: Any) -> str:
    """Fill a template of the package; texts are escaped, and control characters in them shown.

    Parameters
    ----------
    template : str
        A file in `geofsrcnn.evaluation.templates`.
    **values
        Values of its names.
    """
    need_report()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("geofsrcnn.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.get_template(template).render(**values)
