"""The config of a small stack that is right, for tests that break it in one place."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from infra.problems import SettingsError
from infra.reading import Unset, read_settings
from infra.settings import Settings

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA somebody"

_RIGHT: dict[str, Any] = {
    "name": "shop",
    "domain": "example.com",
    "cloudflare_account_id": "0" * 32,
    "cloudflare_zone_id": "1" * 32,
    "ssh_public_keys": [SSH_KEY],
    "admin_cidrs": ["198.51.100.7/32"],
    "regions": [{"name": "eu", "location": "nbg1"}],
    "app": {"servers": 1, "server_type": "cx33"},
}


def stack_config(**changes: Any) -> dict[str, str]:
    """Config text as the engine gives it; a key that is None is left out."""
    values = {key: value for key, value in {**_RIGHT, **changes}.items() if value is not None}
    return {f"rungway:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def read(config: Mapping[str, str] | None = None, **changes: Any) -> Settings:
    """The settings of that config."""
    return read_settings(config or stack_config(**changes), source="stack test", require_user_values=True)[0]


def unset(**changes: Any) -> list[Unset]:
    """What a plan of that config finds unset."""
    return read_settings(stack_config(**changes), source="stack test", require_user_values=False)[1]


def problems(config: Mapping[str, str] | None = None, **changes: Any) -> list[str]:
    """The problems of that config, each as its user reads it."""
    with pytest.raises(SettingsError) as caught:
        read(config, **changes)
    first, *lines = str(caught.value).splitlines()
    found = [line.removeprefix("  - ") for line in lines]
    assert first == f"stack test: {len(found)} problem{'' if len(found) == 1 else 's'} in the settings:"
    return found
