"""What the recorder says the engine would be told, and what it refuses."""

import asyncio
import gc
import logging
import threading
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi.runtime import settings

from rungway.model import SECRET, UNKNOWN, Resource
from rungway.recorder import Recording, RecordingError, record

_OUTPUT_AS_TEXT = "an f-string or str() was used on an Output; use pulumi.Output.concat, pulumi.Output.format or .apply"


class Box(pulumi.CustomResource):
    """A resource of a made-up provider: inputs as given, and one output that only the provider knows."""

    address: pulumi.Output[str]
    size: pulumi.Output[int]
    password: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any] | None = None, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("test:index/box:Box", name, {"address": None, "size": None, "password": None, **(props or {})}, opts)


class Group(pulumi.ComponentResource):
    """A component."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None, type_: str = "rungway:index:Group") -> None:
        super().__init__(type_, name, {}, opts)


def recording(program: Callable[[], None], **more: Any) -> Recording:
    return record(program, project="rungway", stack="mvp", **{"config": {}, **more})


def resources(program: Callable[[], None]) -> dict[str, Resource]:
    return {resource.name: resource for resource in recording(program).resources}


def inputs(props: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """`props` is called inside the program: an Output belongs to the loop on which it was made."""

    def program() -> None:
        Box("box", props())

    return recording(program).resources[0].inputs


def problems(program: Callable[[], None]) -> tuple[str, ...]:
    with pytest.raises(RecordingError) as caught:
        recording(program)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_urns_hold_the_whole_chain_of_types_without_the_root_stack() -> None:
    def program() -> None:
        outer = Group("outer")
        inner = Group("inner", pulumi.ResourceOptions(parent=outer), type_="rungway:index:Inner")
        box = Box("box", opts=pulumi.ResourceOptions(parent=inner))
        Box("lid", opts=pulumi.ResourceOptions(parent=box))
        Box("alone::with colons")

    found = resources(program)
    prefix = "urn:pulumi:mvp::rungway::"
    assert {name: resource.urn for name, resource in found.items()} == {
        "outer": f"{prefix}rungway:index:Group::outer",
        "inner": f"{prefix}rungway:index:Group$rungway:index:Inner::inner",
        "box": f"{prefix}rungway:index:Group$rungway:index:Inner$test:index/box:Box::box",
        "lid": f"{prefix}rungway:index:Group$rungway:index:Inner$test:index/box:Box$test:index/box:Box::lid",
        "alone::with colons": f"{prefix}test:index/box:Box::alone::with colons",
    }
    assert found["outer"].parent is None
    assert found["alone::with colons"].parent is None
    assert found["lid"].parent == found["box"].urn
    assert (found["outer"].component, found["box"].component) == (True, False)
    assert found["inner"].type == "rungway:index:Inner"


def test_order_is_the_programs_own_even_where_registrations_wait_for_others() -> None:
    def program() -> None:
        late = Box("first", {"text": pulumi.Output.from_input(asyncio.sleep(0.02, "later"))})
        Box("second", {"text": late.address})
        Box("third")

    assert [resource.name for resource in recording(program).resources] == ["first", "second", "third"]


def test_inputs_keep_their_json_types() -> None:
    values = {"number": 3, "half": 0.5, "yes": True, "text": "3", "list": [1, "a", None], "map": {"snake_key": 1}, "zero": 0}
    found = inputs(lambda: values)
    assert found == values
    assert isinstance(found["number"], int)
    assert found["yes"] is True
    assert isinstance(found["list"][0], int)


def test_secrets_are_masked_wherever_they_are() -> None:
    found = inputs(
        lambda: {
            "whole": pulumi.Output.secret("s3cret"),
            "nested": {"list": [{"key": pulumi.Output.secret("s3cret")}, "plain"]},
            "mixed": pulumi.Output.all(pulumi.Output.secret("s3cret"), "plain").apply(lambda values: " ".join(values)),
            "plain": "plain",
        }
    )
    assert found == {"whole": SECRET, "nested": {"list": [{"key": SECRET}, "plain"]}, "mixed": SECRET, "plain": "plain"}


def test_outputs_of_a_provider_stay_unknown_and_inputs_come_back() -> None:
    def program() -> None:
        box = Box("box", {"size": 3, "password": pulumi.Output.secret("s3cret")})
        pulumi.export("id", box.id)
        pulumi.export("address", box.address)
        pulumi.export("size", box.size)
        pulumi.export("text", box.address.apply(lambda address: f"ssh {address}"))
        pulumi.export("password", box.password)
        pulumi.export("urn", box.urn)
        Box("reader", {"box_id": box.id, "list": [box.address, "known"], "size": box.size, "password": box.password})

    found = recording(program)
    assert found.outputs == {
        "address": UNKNOWN,
        "id": UNKNOWN,
        "password": SECRET,
        "size": 3,
        "text": UNKNOWN,
        "urn": "urn:pulumi:mvp::rungway::test:index/box:Box::box",
    }
    assert found.resources[1].inputs == {"box_id": UNKNOWN, "list": [UNKNOWN, "known"], "size": 3, "password": SECRET}


def test_additional_secret_outputs_are_secret_even_while_unknown() -> None:
    def program() -> None:
        box = Box("box", {"size": 3}, pulumi.ResourceOptions(additional_secret_outputs=["password", "size"]))
        Box("reader", {"password": box.password, "size": box.size, "address": box.address})

    assert resources(program)["reader"].inputs == {"password": SECRET, "size": SECRET, "address": UNKNOWN}


def test_assets_and_resource_references() -> None:
    def program() -> None:
        box, group = Box("box"), Group("group")
        Box(
            "holder",
            {
                "file": pulumi.FileAsset("site/index.html"),
                "folder": pulumi.FileArchive("site"),
                "parts": pulumi.AssetArchive(
                    {"index.html": pulumi.StringAsset("<p>"), "logo": pulumi.RemoteAsset("https://example.com/l")}
                ),
                "box": box,
                "group": group,
            },
        )

    found = resources(program)
    assert found["holder"].inputs == {
        "file": {"asset": {"path": "site/index.html"}},
        "folder": {"archive": {"path": "site"}},
        "parts": {
            "archive": {"assets": {"index.html": {"asset": {"text": "<p>"}}, "logo": {"asset": {"uri": "https://example.com/l"}}}},
        },
        "box": UNKNOWN,
        "group": found["group"].urn,
    }


def test_protect_and_retain_on_delete_are_inherited_and_ignore_changes_is_not() -> None:
    def program() -> None:
        group = Group("group", pulumi.ResourceOptions(protect=True, retain_on_delete=True, ignore_changes=["size"]))
        child = Box("child", opts=pulumi.ResourceOptions(parent=group))
        Box("grandchild", opts=pulumi.ResourceOptions(parent=child))
        Box("free", opts=pulumi.ResourceOptions(parent=group, protect=False, retain_on_delete=False))
        Box("alone", opts=pulumi.ResourceOptions(ignore_changes=["size", "address"], delete_before_replace=True))

    found = resources(program)
    assert {name: (r.protect, r.retain_on_delete) for name, r in found.items()} == {
        "group": (True, True),
        "child": (True, True),
        "grandchild": (True, True),
        "free": (False, False),
        "alone": (False, False),
    }
    assert found["child"].ignore_changes == ()
    assert found["alone"].ignore_changes == ("size", "address")
    assert [name for name, resource in found.items() if resource.delete_before_replace] == ["alone"]


def test_provider_names_are_sent_for_ignored_properties_and_nested_inputs() -> None:
    def program() -> None:
        from pulumi_hcloud.server import Server

        options = pulumi.ResourceOptions(ignore_changes=["user_data", "sshKeys"])
        Server("app-eu-1", server_type="cx33", public_nets=[{"ipv4_enabled": True, "ipv4": 7}], opts=options)

    server = recording(program).resources[0]
    assert server.inputs == {"serverType": "cx33", "publicNets": [{"ipv4Enabled": True, "ipv4": 7}]}
    assert server.ignore_changes == ("userData", "sshKeys")


def test_dependencies_come_from_options_properties_and_whole_components() -> None:
    def program() -> None:
        network, key = Box("network"), Box("key")
        group = Group("group")
        Box("member", opts=pulumi.ResourceOptions(parent=group))
        Box("server", {"network": network.id.apply(str)}, pulumi.ResourceOptions(depends_on=[key, group]))

    found = resources(program)
    assert found["server"].dependencies == tuple(sorted(found[name].urn for name in ("network", "key", "member")))
    assert found["network"].dependencies == ()


def test_aliases_are_full_urns_and_multiply_with_the_parents() -> None:
    def program() -> None:
        group = Group(
            "app-eu", pulumi.ResourceOptions(aliases=[pulumi.Alias(name="web-eu"), "urn:pulumi:mvp::rungway::old:index:Type::web"])
        )
        Box("app-eu-1", opts=pulumi.ResourceOptions(parent=group, aliases=[pulumi.Alias(name="server")]))
        Box("moved", opts=pulumi.ResourceOptions(parent=group, aliases=[pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE)]))
        Box("renamed", opts=pulumi.ResourceOptions(aliases=[pulumi.Alias(type_="test:index/crate:Crate", project="shop", stack="live")]))

    found = resources(program)
    prefix = "urn:pulumi:mvp::rungway::"
    group, box = "rungway:index:Group", "test:index/box:Box"
    assert found["app-eu"].aliases == (f"{prefix}{group}::web-eu", f"{prefix}old:index:Type::web")
    assert found["app-eu-1"].aliases == (
        f"{prefix}{group}${box}::server",
        f"{prefix}{group}${box}::web-eu-1",
        f"{prefix}old:index:Type${box}::web-1",
        f"{prefix}old:index:Type${box}::server",
    )
    assert f"{prefix}{box}::moved" in found["moved"].aliases
    assert found["renamed"].aliases == ("urn:pulumi:live::shop::test:index/crate:Crate::renamed",)


def test_a_urn_used_twice_is_one_problem_each() -> None:
    def program() -> None:
        for _ in range(2):
            Box("box")
            Box("other")
        Box("box", opts=pulumi.ResourceOptions(parent=Group("group")))

    assert problems(program) == (
        "urn:pulumi:mvp::rungway::test:index/box:Box::box: two resources have this URN; give one of them another name",
        "urn:pulumi:mvp::rungway::test:index/box:Box::other: two resources have this URN; give one of them another name",
    )


def test_an_output_formatted_into_a_text_is_named_with_its_property() -> None:
    def program() -> None:
        box = Box("box")
        Box(
            "reader",
            {
                "labels": {"owner": f"app-{box.id}", "fine": "yes"},
                "rules": ["fine", {"source": str(box.address)}],
                "password": pulumi.Output.secret(f"password of {box.id}"),
            },
        )
        Box(f"box-{box.id}")
        Box("keyed", {"labels": {f"{box.id}": "x"}})
        group = Group("group")
        group.register_outputs({"address": f"https://{box.address}"})
        pulumi.export("url", f"https://{box.address}")

    assert sorted(problems(program)) == sorted(
        [
            f"reader (test:index/box:Box): labels.owner: {_OUTPUT_AS_TEXT}",
            f"reader (test:index/box:Box): rules[1].source: {_OUTPUT_AS_TEXT}",
            f"reader (test:index/box:Box): password: {_OUTPUT_AS_TEXT}",
            f"a resource of type test:index/box:Box: name: {_OUTPUT_AS_TEXT}, or a name known before deployment",
            f"keyed (test:index/box:Box): labels (a key): {_OUTPUT_AS_TEXT}",
            f"group (rungway:index:Group): outputs: address: {_OUTPUT_AS_TEXT}",
            f"stack outputs: url: {_OUTPUT_AS_TEXT}",
        ]
    )


_OFFLINE = "asks a provider, which an offline plan can't do; pass the value in as a setting, or plan with --engine"
_TRANSFORMS = "transforms: an offline plan does not run resource transforms; remove them, or plan with --engine"


def _box() -> None:
    Box("box")


def _invoke() -> None:
    pulumi.export("image", pulumi.runtime.invoke_output("hcloud:index/getImage:getImage", {"name": "debian-13"}))


def _read() -> None:
    Box("known", opts=pulumi.ResourceOptions(id="17"))


def _transform() -> None:
    Box("box", opts=pulumi.ResourceOptions(transforms=[lambda _: None]))


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (_invoke, f"function hcloud:index/getImage:getImage: {_OFFLINE}"),
        (_read, f"known (test:index/box:Box): {_OFFLINE}"),
        (lambda: pulumi.log.error("no room left"), "pulumi.log.error: no room left"),
        (lambda: pulumi.runtime.register_resource_transform(lambda _: None), f"stack: {_TRANSFORMS}"),
        (_transform, f"box (test:index/box:Box): {_TRANSFORMS}"),
    ],
)
def test_what_needs_an_engine_is_refused(program: Callable[[], None], problem: str) -> None:
    assert problems(program) == (problem,)


@pytest.mark.parametrize("error", [pulumi.RunError("2 settings are wrong"), ValueError("wrong"), KeyboardInterrupt(), SystemExit(3)])
def test_what_the_program_raises_comes_out_as_it_is(error: BaseException) -> None:
    def program() -> None:
        Box("box", {"later": Box("other").id})
        raise error

    with pytest.raises(type(error)) as caught:
        recording(program)
    assert caught.value is error


def test_an_error_inside_apply_comes_out_and_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    def program() -> None:
        def fail(_: str) -> str:
            raise ValueError("no such size")

        box = Box("box")
        broken = box.urn.apply(fail)
        Box("reader", {"text": broken})
        Box("reader-of-reader", {"text": broken, "more": Box("another", {"text": broken}).id})

    caplog.set_level(logging.DEBUG, logger="asyncio")
    with pytest.raises(ValueError, match="no such size"):
        recording(program)
    gc.collect()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert list(recwarn) == []


def test_config_and_its_secrets_reach_the_program_and_end_with_it() -> None:
    def program() -> None:
        config = pulumi.Config("rungway")
        pulumi.export("name", config.get("name"))
        pulumi.export("regions", config.get_object("regions"))
        pulumi.export("key", config.get_secret("key"))
        pulumi.export("stack", f"{pulumi.get_project()}/{pulumi.get_stack()}")
        pulumi.export("preview", pulumi.runtime.is_dry_run())

    config = {"rungway:name": "shop", "rungway:regions": '[{"name": "eu"}]', "rungway:key": "s3cret"}
    first = recording(program, config=config, secret_keys=["rungway:key"])
    assert first.outputs == {"name": "shop", "regions": [{"name": "eu"}], "key": SECRET, "stack": "rungway/mvp", "preview": True}
    second = recording(program)
    assert second.outputs == {"stack": "rungway/mvp", "preview": True}


def test_runs_do_not_see_each_other_or_their_caller() -> None:
    pulumi.runtime.set_all_config({"rungway:name": "caller"})
    before = (settings.get_root_resource(), settings.get_project(), settings.get_stack(), settings.SETTINGS.monitor)

    def program() -> None:
        Box("box", {"name": pulumi.Config("rungway").get("name")})

    first = recording(program)
    with pytest.raises(RecordingError):
        recording(lambda: pulumi.log.error("bad"))
    assert recording(program) == first
    assert first.resources[0].inputs == {}
    assert (
        record(program, project="other", stack="phase2", config={}).resources[0].urn == "urn:pulumi:phase2::other::test:index/box:Box::box"
    )
    assert (settings.get_root_resource(), settings.get_project(), settings.get_stack(), settings.SETTINGS.monitor) == before
    assert pulumi.Config("rungway").get("name") == "caller"
    assert [thread.name for thread in threading.enumerate() if thread.name == "rungway-recorder"] == []


def test_runs_within_a_running_loop() -> None:
    async def caller() -> Recording:
        return recording(_box)

    assert [resource.name for resource in asyncio.run(caller()).resources] == ["box"]


def test_warnings_of_the_program_are_kept() -> None:
    assert recording(lambda: pulumi.log.warn("the size is retired")).warnings == ("the size is retired",)


def test_many_resources_are_recorded_the_same_every_time() -> None:
    def program() -> None:
        network = Box("network")
        for number in range(100):
            group = Group(f"app-{number}")
            server = Box(f"server-{number}", {"network": network.id}, pulumi.ResourceOptions(parent=group))
            Box(f"disk-{number}", {"server": server.id, "network": network.address}, pulumi.ResourceOptions(parent=group))

    first = recording(program)
    assert len(first.resources) == 301
    assert recording(program) == first
