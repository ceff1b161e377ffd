"""Renders the templates of `hosts/templates`: each in its own native extension, each in Jinja's syntax."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).with_name("templates")


def render_template(name: str, **values: object) -> str:
    """The text of the template `name` (for example 'nginx/nginx.conf').

    Raises:
        jinja2.UndefinedError: the template names a value that is not given.
    """
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> Environment:
    # Configuration files, not HTML: escaping would break them (S701).
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
