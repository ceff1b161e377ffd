"""docs/Pulumi.reference.yaml is example, documentation and test at once."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from infra.reading import KEYS, REGION_SECTIONS, STACK_SECTIONS, read_settings, section_of
from infra.settings import Region, Section
from infra.stack_file import engine_config, read_stack_file

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "Pulumi.reference.yaml"


def _missing(model: type[Section], values: dict[str, Any], path: str) -> list[str]:
    """Keys of a section that the reference does not name."""
    missing = []
    for key, field in model.model_fields.items():
        if key not in values:
            missing.append(f"{path}.{key}")
            continue
        inner = section_of(field)
        if inner is not None:
            found = values[key][0] if isinstance(values[key], list) else values[key]
            missing += _missing(inner, found, f"{path}.{key}")
    return missing


def test_the_reference_names_every_key() -> None:
    config = read_stack_file(REFERENCE)["config"]

    missing = [key for key in KEYS if f"rungway:{key}" not in config]
    for key, model in {**REGION_SECTIONS, **STACK_SECTIONS}.items():
        missing += _missing(model, config[f"rungway:{key}"], f"rungway:{key}")
    region = config["rungway:regions"][0]
    missing += [f"regions.{key}" for key in Region.model_fields if key not in REGION_SECTIONS and key not in region]
    assert missing == []


def test_a_key_that_the_reference_lacks_is_seen() -> None:
    assert _missing(STACK_SECTIONS["network"], {}, "rungway:network") == ["rungway:network.cidr"]


def test_every_top_level_key_has_a_comment_above_it() -> None:
    lines = REFERENCE.read_text(encoding="utf-8").splitlines()

    assert [line for above, line in pairwise(lines) if line.startswith("  rungway:") and not above.strip().startswith("#")] == []


def test_the_reference_reads_without_an_error_and_leaves_nothing_to_set() -> None:
    config, secret_keys = engine_config(read_stack_file(REFERENCE))
    settings, unset = read_settings(config, source="reference", require_user_values=True)

    assert (unset, secret_keys) == ([], [])
    assert [region.name for region in settings.regions] == ["eu", "north"]
    assert settings.regions[1].database.nodes == 1
    assert settings.regions[0].database.nodes == 2
