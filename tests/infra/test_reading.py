"""Settings are read whole or not at all: defaults, overrides, what only the user knows, and every wrong form in one error."""

import base64
import json
from typing import Any

import pulumi
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from infra.problems import SettingsError
from infra.reading import KEYS, REGION_SECTIONS, STACK_SECTIONS, read_settings
from infra.settings import Settings
from tests.support.stack_config import problems, read, stack_config, unset

PATH = "a path that starts with / and has only letters, digits and . _ ~ - between further /"
IMAGES = "a container image with its tag or digest, for example ghcr.io/acme/shop:1.4.2, or nothing"
APP_KEYS = (
    "servers, server_type, data_volume_size_gb, image_backups, image, migration_command, port, health_check_path, workers, "
    "worker_concurrency, worker_memory_mb, database_pool_size, database_max_overflow"
)


def test_what_is_left_out_or_empty_keeps_its_default() -> None:
    plain = read()

    assert (plain.architecture, plain.regions[0].provider, plain.regions[0].cidr) == ("x86", "hetzner", "10.0.0.0/16")
    assert plain.regions[0].app.port == 8000
    assert read(architecture="", database={}, existing_ssh_keys=[], provider="", network="", backup="{}") == plain
    assert read(regions=[{"name": "eu", "location": "nbg1", "cidr": "", "provider": None, "database": None, "app": {}}]) == plain


def test_other_namespaces_are_left_alone() -> None:
    assert read({**stack_config(), "hcloud:token": "secret", "cloudflare:nonsense": "[", "rungwayish:x": "1"}) == read()


def test_a_region_overrides_single_keys_and_whole_lists() -> None:
    pool = {"name": "web", "server_type": "cx33", "nodes_min": 1, "nodes_max": 2}
    settings = read(
        database={"nodes": 2, "server_type": "cx43", "volume_size_gb": 50, "pooler": {"enabled": True, "pool_size": 30}},
        kubernetes={"enabled": True, "control_server_type": "cx23", "pools": [pool, {**pool, "name": "jobs"}]},
        regions=[
            {"name": "eu", "location": "nbg1"},
            {
                "name": "north",
                "location": "hel1",
                "database": {"nodes": 1, "pooler": {"pool_size": 10}},
                "kubernetes": {"pools": [pool]},
            },
        ],
    )

    eu, north = settings.regions
    assert (eu.database.nodes, eu.database.pooler.pool_size, len(eu.kubernetes.pools)) == (2, 30, 2)
    assert (north.database.nodes, north.database.volume_size_gb, len(north.kubernetes.pools)) == (1, 50, 1)
    assert (north.database.pooler.enabled, north.database.pooler.pool_size) == (True, 10)
    assert [region.cidr for region in settings.regions] == ["10.0.0.0/16", "10.1.0.0/16"]


def test_regions_of_two_providers() -> None:
    first = {"name": "eu", "location": "fra1", "app": {"server_type": "s-4vcpu-8gb"}}
    settings = read(provider="digitalocean", regions=[first, {"name": "north", "location": "hel1", "provider": "hetzner"}])

    assert [region.provider for region in settings.regions] == ["digitalocean", "hetzner"]


USER_VALUES: dict[str, Any] = dict.fromkeys(("domain", "cloudflare_account_id", "cloudflare_zone_id", "ssh_public_keys", "admin_cidrs"))


def test_the_engine_names_everything_that_its_user_must_set() -> None:
    assert problems(**USER_VALUES) == [
        "rungway:domain: found nothing; allowed: the domain of the application, a zone at Cloudflare; "
        "run: pulumi config set rungway:domain example.com",
        "rungway:cloudflare_account_id: found nothing; allowed: the Cloudflare account's id (dashboard, Account home); "
        "run: pulumi config set rungway:cloudflare_account_id <32 hexadecimal digits>",
        "rungway:cloudflare_zone_id: found nothing; allowed: the domain's zone id at Cloudflare (dashboard, the domain's Overview); "
        "run: pulumi config set rungway:cloudflare_zone_id <32 hexadecimal digits>",
        "rungway:ssh_public_keys: found nothing; allowed: the administrators' SSH public keys; "
        "run: pulumi config set --path 'rungway:ssh_public_keys[0]' \"$(cat ~/.ssh/id_ed25519.pub)\"",
        "rungway:admin_cidrs: found nothing; allowed: the networks from which administrators reach the servers; "
        "run: pulumi config set --path 'rungway:admin_cidrs[0]' 198.51.100.7/32",
    ]


def test_what_is_unset_stands_beside_other_problems() -> None:
    found = problems(domain=None, app={"servers": 1, "server_type": "cx99"})

    assert [line.split(": ")[0] for line in found] == ["rungway:domain", "rungway:app.server_type"]


def test_a_plan_fills_in_placeholders_and_says_which() -> None:
    settings, missing = read_settings(stack_config(**USER_VALUES), source="stack test", require_user_values=False)

    assert [item.path.removeprefix("rungway:") for item in missing] == list(USER_VALUES)
    assert settings.domain == "example.com"
    assert settings.cloudflare_zone_id == "0" * 32
    assert settings.admin_cidrs == ("192.0.2.1/32",)
    kind, body, _ = settings.ssh_public_keys[0].split()
    blob = base64.b64decode(body)
    assert (kind, blob[:19], len(blob)) == ("ssh-ed25519", b"\0\0\0\x0bssh-ed25519\0\0\0\x20", 51)


def test_only_what_the_stack_uses_must_be_set() -> None:
    assert unset(**USER_VALUES, app=None) == [item for item in unset(**USER_VALUES) if item.path not in NEEDED_BY_SERVERS]
    assert [item.path for item in unset(**USER_VALUES, edge={"enabled": False, "tls": False})] == list(NEEDED_BY_SERVERS)
    assert [item.path for item in unset(ssh_public_keys=None, existing_ssh_keys=["mine"])] == []


NEEDED_BY_SERVERS = ("rungway:ssh_public_keys", "rungway:admin_cidrs")


def test_an_encrypted_value_is_set_though_a_plan_can_not_read_it() -> None:
    config = stack_config(domain="[secret]", admin_cidrs=["[secret]"])
    settings, missing = read_settings(config, source="stack test", require_user_values=False)

    assert (settings.domain, settings.admin_cidrs, missing) == ("example.com", ("192.0.2.1/32",), [])


def test_the_engine_prints_the_error_without_a_traceback() -> None:
    assert issubclass(SettingsError, pulumi.RunError)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"nmae": "x"}, [f"rungway:nmae: found an unknown key; allowed: {', '.join(sorted(KEYS))}; did you mean 'name'?"]),
        (
            {"app": {"servers": 1, "server_type": "cx33", "wrokers": 2}},
            [f"rungway:app.wrokers: found an unknown key; allowed: {APP_KEYS}; did you mean 'workers'?"],
        ),
        (
            {"app": {"servers": 1, "server_type": "cx33", "zzz": 2}},
            [f"rungway:app.zzz: found an unknown key; allowed: {APP_KEYS}"],
        ),
        ({"app": "many"}, ["rungway:app: found 'many'; allowed: a group of keys"]),
        ({"app": '{"servers": '}, ["rungway:app: found '{\"servers\": '; allowed: a group of keys"]),
        ({"app": '{"a":' * 5000 + "1" + "}" * 5000}, ["rungway:app: found '" + ('{"a":' * 16)[:76] + "…; allowed: a group of keys"]),
        ({"app": {"servers": "1", "server_type": "cx33"}}, ["rungway:app.servers: found '1'; allowed: a whole number"]),
        ({"app": {"servers": 1.5, "server_type": "cx33"}}, ["rungway:app.servers: found 1.5; allowed: a whole number"]),
        ({"app": {"servers": True, "server_type": "cx33"}}, ["rungway:app.servers: found true; allowed: a whole number"]),
        ({"app": {"servers": None, "server_type": "cx33"}}, ["rungway:app.servers: found nothing; allowed: a whole number"]),
        ({"app": {"servers": 101, "server_type": "cx33"}}, ["rungway:app.servers: found 101; allowed: 0 to 100"]),
        ({"app": {"servers": -1, "server_type": "cx33"}}, ["rungway:app.servers: found -1; allowed: 0 to 100"]),
        ({"app": {"servers": 1, "server_type": 33}}, ["rungway:app.server_type: found 33; allowed: a text"]),
        (
            {"app": {"servers": 1, "server_type": "cx33", "health_check_path": "health"}},
            [f"rungway:app.health_check_path: found 'health'; allowed: {PATH}"],
        ),
        *(
            (
                {"app": {"servers": 1, "server_type": "cx33", "health_check_path": path}},
                [f"rungway:app.health_check_path: found {shown}; allowed: {PATH}"],
            )
            for path, shown in (
                ('/"', "'/\"'"),
                ("/a b", "'/a b'"),
                ("/a;}", "'/a;}'"),
                ("/${secret:redis}", "'/${secret:redis}'"),
                ("/a\n", r"'/a\n'"),
            )
        ),
        *(
            ({"app": {"servers": 1, "server_type": "cx33", "image": image}}, [f"rungway:app.image: found '{image}'; allowed: {IMAGES}"])
            for image in (
                "my image:1",
                "ghcr.io/acme/shop",
                "ghcr.io/Acme/shop:1",
                "shop:",
                "/srv/1",
                'a:1";',
                "a@sha256:12",
                "https://ghcr.io/a/b:1",
            )
        ),
        ({"edge": {"tls": "yes"}}, ["rungway:edge.tls: found 'yes'; allowed: true or false"]),
        ({"edge": {"buckets": {}}}, ["rungway:edge.buckets: found {}; allowed: a list"]),
        ({"edge": {"buckets": ["x"]}}, ["rungway:edge.buckets[0]: found 'x'; allowed: a group of keys"]),
        (
            {"edge": {"buckets": [{"name": "a", "acess": "public"}]}},
            [
                "rungway:edge.buckets[0].acess: found an unknown key; allowed: name, access, subdomain, cors, delete_after_days, "
                "abort_uploads_after_days, lock_days, cache_seconds, token, location, storage_gb, writes_per_month, reads_per_month; "
                "did you mean 'access'?"
            ],
        ),
        (
            {"edge": {"buckets": [{"name": "a", "cors": [{"origins": ["{site}"], "methods": ["GTE"]}]}]}},
            [
                "rungway:edge.buckets[0].cors[0].methods[0]: found 'GTE'; allowed: GET, PUT, POST, DELETE, HEAD; did you mean 'GET'?",
            ],
        ),
        ({"architecture": "arm64"}, ["rungway:architecture: found 'arm64'; allowed: x86, arm; did you mean 'arm'?"]),
        ({"provider": "aws"}, ["rungway:provider: found 'aws'; allowed: hetzner, digitalocean"]),
        (
            {"kubernetes": {"control_nodes": 2}},
            ["rungway:kubernetes.control_nodes: found 2; allowed: 1, 3"],
        ),
        (
            {"budget": {"monthly_amount": "30"}},
            ["rungway:budget.monthly_amount: found '30'; allowed: a number"],
        ),
        ({"budget": '{"monthly_amount": 1e999}'}, ["rungway:budget.monthly_amount: found Infinity; allowed: a finite number"]),
        ({"targets": {"users_min": -1}}, ["rungway:targets.users_min: found -1; allowed: 0 or more"]),
        (
            {"name": "a" * 64},
            [
                f"rungway:name: found '{'a' * 64}'; "
                "allowed: 1 to 32 lower-case letters, digits and hyphens, first a letter, last no hyphen",
            ],
        ),
        (
            {"name": "größe"},
            ["rungway:name: found 'größe'; allowed: 1 to 32 lower-case letters, digits and hyphens, first a letter, last no hyphen"],
        ),
        ({"name": "\ud800"}, ["rungway:name: found '\\ud800'; allowed: a text in Unicode"]),
        (
            {"name": "a\x1b[31m\n"},
            [
                "rungway:name: found 'a\\x1b[31m\\n'; "
                "allowed: 1 to 32 lower-case letters, digits and hyphens, first a letter, last no hyphen"
            ],
        ),
        ({"admin_cidrs": "198.51.100.7/32"}, ["rungway:admin_cidrs: found '198.51.100.7/32'; allowed: a list"]),
        ({"admin_cidrs": [7]}, ["rungway:admin_cidrs[0]: found 7; allowed: a text"]),
        ({"regions": None}, ["rungway:regions: found no region; allowed: a list of at least one region with name and location"]),
        ({"regions": "[{"}, ["rungway:regions: found '[{'; allowed: a list"]),
        (
            {"regions": ["eu"]},
            [
                "rungway:regions[0]: found 'eu'; "
                "allowed: a group of keys: name, location, and where they differ provider, cidr and sections",
            ],
        ),
        (
            {"regions": [{"name": "eu"}]},
            ["rungway:regions[0].location: found nothing; allowed: a value; it is required"],
        ),
        (
            {"regions": [{"name": "eu", "location": "nbg1", "locatoin": "x"}]},
            [
                "rungway:regions[0].locatoin: found an unknown key; allowed: name, provider, location, cidr, app, database, redis, "
                "monitoring, load_balancer, kubernetes; did you mean 'location'?"
            ],
        ),
        (
            {"regions": [{"name": "eu", "location": "nbg1", "cidr": 5}]},
            ["rungway:regions[0].cidr: found 5; allowed: a text"],
        ),
        (
            {"regions": [{"name": "eu", "location": "nbg1", "app": "none"}]},
            ["rungway:regions[0].app: found 'none'; allowed: a group of keys"],
        ),
    ],
)
def test_a_wrong_form_is_one_exact_problem(changes: dict[str, Any], expected: list[str]) -> None:
    assert problems(**changes) == expected


def test_a_mistake_is_told_once_and_where_it_was_written() -> None:
    regions = [
        {"name": "eu", "location": "nbg1"},
        {"name": "north", "location": "hel1", "app": {"server_type": "cx98", "workers": 999}},
        {"name": "south", "location": "fsn1"},
    ]
    found = problems(app={"servers": 1, "server_type": "cx99", "port": 80}, regions=regions)

    assert [line.split("; allowed")[0] for line in found] == [
        "rungway:app.port: found 80",
        "rungway:regions[1].app.workers: found 999",
        "rungway:app.server_type: found 'cx99'",
        "rungway:regions[1].app.server_type: found 'cx98'",
    ]


def test_problems_of_every_kind_are_told_together() -> None:
    found = problems(
        colour="blue",
        network={"cidr": "10.0.0.0/21"},
        regions=[{"name": "eu", "location": "nbg1", "cidr": "10.0.0.0/22"}, {"name": "us", "location": "ash", "cidr": "10.0.0.0/20"}],
        app={"servers": "one", "server_type": "cx33"},
        database={"nodes": 0, "server_tpye": "cx43"},
        redis={"nodes": 1, "server_type": "cax11", "sentinel": True},
        monitoring={"servers": 1, "server_type": "cx22"},
        edge={"enabled": False},
    )

    assert [line.split("; allowed")[0] for line in found] == [
        "rungway:colour: found an unknown key",
        "rungway:app.servers: found 'one'",
        "rungway:database.server_tpye: found an unknown key",
        "rungway:network.cidr: found '10.0.0.0/21'",
        "rungway:edge.tls: found true",
        "rungway:regions[0].cidr: found '10.0.0.0/22'",
        "rungway:redis.server_type: found 'cax11' (arm)",
        "rungway:monitoring.server_type: found 'cx22'",
        "rungway:redis.sentinel: found true with 1 nodes",
        "rungway:regions[1].cidr: found '10.0.0.0/20'",
        "rungway:regions[1].cidr: found '10.0.0.0/20'",
        "rungway:redis.server_type: found 'cax11'",
    ]


def test_a_misspelt_key_breaks_no_rule_that_needs_its_value() -> None:
    """`serverss` means servers, so nobody says that the load balancer has nothing behind it."""
    found = problems(app={"serverss": 2, "server_type": "cx33"}, load_balancer={"enabled": True, "type": "lb11"})

    assert [line.split(": ")[0] for line in found] == ["rungway:app.serverss"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["cx33", "10.0.0.0/16", "nbg1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _group(keys: list[str]) -> st.SearchStrategy[Any]:
    """A section with some of its own keys, holding anything."""
    return st.dictionaries(st.sampled_from(keys), _JSON, max_size=4)


_REGION = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("name", "provider", "location", "cidr"), _JSON),
        **{key: _group(list(model.model_fields)) | _JSON for key, model in REGION_SECTIONS.items()},
    },
)
_CONFIG = st.fixed_dictionaries(
    {},
    optional={
        **{key: st.text(max_size=40) | _JSON for key in KEYS},
        **{key: _group(list(model.model_fields)) for key, model in {**REGION_SECTIONS, **STACK_SECTIONS}.items()},
        "regions": st.lists(_REGION, max_size=3) | _JSON,
        "unknown": _JSON,
    },
)


@given(config=_CONFIG, require=st.booleans())
@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_garbage_is_never_more_than_a_settings_error(config: dict[str, Any], require: bool) -> None:
    texts = {f"rungway:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    _is_right_or_refused(texts, require=require)


@given(section=st.sampled_from([*REGION_SECTIONS, *STACK_SECTIONS]), data=st.data())
@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_right_stack_with_one_wild_section(section: str, data: st.DataObject) -> None:
    model = {**REGION_SECTIONS, **STACK_SECTIONS}[section]
    values = data.draw(_group(list(model.model_fields)))
    _is_right_or_refused(stack_config(**{section: values}), require=True)


def _is_right_or_refused(config: dict[str, str], *, require: bool) -> None:
    """Whatever is read is what the model itself takes: nothing slips through where sections are read key by key."""
    try:
        settings, _ = read_settings(config, source="stack test", require_user_values=require)
    except SettingsError as error:
        str(error).encode()
        return
    assert Settings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(
    "image",
    ["", "shop:1", "acme/shop:1.4.2", "ghcr.io/acme/shop:v1_2-rc.3", "registry.example.com:5000/a/b__c-d.e:1", f"a/b@sha256:{'0a' * 32}"],
)
def test_an_image_as_registries_know_it_is_taken(image: str) -> None:
    settings = read(app={"servers": 1, "server_type": "cx33", "image": image})

    assert settings.regions[0].app.image == image
