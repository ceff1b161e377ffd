"""Runs a Pulumi program without an engine and records what the engine would have been told.

The program is the real one. The Pulumi SDK sends its registrations to `_RecordingMonitor` instead of to the engine; it answers as a
preview does: inputs come back as outputs, whatever only the provider can say stays unknown, nothing is created or written. The rules
for URNs, inheritance and aliases follow the engine's `source_eval.go` and `step_generator.go`.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pulumi
from google.protobuf import empty_pb2, struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime.config import set_all_config
from pulumi.runtime.proto import alias_pb2, resource_pb2
from pulumi.runtime.stack import Stack, massage, register_stack_transformation, run_pulumi_func

from rungway.errors import RungwayError
from rungway.model import SECRET, UNKNOWN, Resource

_ROOT_STACK_TYPE = "pulumi:pulumi:Stack"
_OUTPUT_AS_TEXT = "Calling __str__ on an Output[T] is not supported"
_OUTPUT_AS_TEXT_ADVICE = "an f-string or str() was used on an Output; use pulumi.Output.concat, pulumi.Output.format or .apply"
_TRANSFORMS = "transforms: an offline plan does not run resource transforms; remove them, or plan with --engine"


class RecordingError(RungwayError):
    """What the engine would refuse, or what can't be answered without an engine. `problems` holds every one of them."""

    def __init__(self, problems: Collection[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Recording:
    """What a program registered.

    `resources` are in the order in which the program constructed them, without the root stack; `parent` of a top-level resource is
    therefore None. `outputs` are the stack's outputs, with `UNKNOWN` and `SECRET` in place. `warnings` is what the program logged with
    `pulumi.log.warn`.
    """

    resources: tuple[Resource, ...]
    outputs: dict[str, Any]
    warnings: tuple[str, ...] = ()


def record(
    program: Callable[[], None],
    *,
    project: str,
    stack: str,
    config: Mapping[str, str],
    secret_keys: Collection[str] = (),
) -> Recording:
    """Run `program` and return what it registered.

    `config` holds full keys (`rungway:name`) with values as in the stack file, objects as JSON text; `secret_keys` names those that are
    secret. Every call starts from a clean SDK: no resource, config or task of an earlier call or of the caller is seen.

    Raises what the program raises, as it is, and RecordingError with every problem found.
    """
    result: Future[Recording] = Future()

    def work() -> None:
        try:
            result.set_result(_Session(program, project, stack, config, secret_keys).run())
        except BaseException as error:
            # Even KeyboardInterrupt and SystemExit belong to the caller, who waits for this thread.
            result.set_exception(error)

    # The SDK keeps its state in context variables and on the thread's event loop: a thread of its own has neither.
    thread = threading.Thread(target=work, name="rungway-recorder", daemon=True)
    thread.start()
    thread.join()
    return result.result()


class _InlineExecutor(ThreadPoolExecutor):
    """Runs what it is given at once, so that registrations arrive one at a time and in the same order on every run."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class _Log(logging.Handler):
    """Keeps what the program says through `pulumi.log`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        (self.errors if record.levelno >= logging.ERROR else self.warnings).append(record.getMessage())


class _Session:
    """One run of one program."""

    def __init__(
        self, program: Callable[[], None], project: str, stack: str, config: Mapping[str, str], secret_keys: Collection[str]
    ) -> None:
        self._program = program
        self._project = project
        self._stack = stack
        self._config = dict(config)
        self._secret_keys = list(secret_keys)
        self._monitor = _RecordingMonitor(project, stack)
        self._constructed: list[pulumi.Resource] = []
        self._log = _Log()
        self._program_error: BaseException | None = None

    def run(self) -> Recording:
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            loop.set_default_executor(_InlineExecutor(1))
            try:
                urns = runner.run(self._run())
            except BaseException:
                # The failure is reported; outputs that failed with it and that nobody awaits any more are not news.
                loop.set_exception_handler(lambda _loop, _context: None)
                if self._program_error is not None:
                    raise self._program_error from None
                raise
        problems = [*self._monitor.problems, *(f"pulumi.log.error: {message}" for message in self._log.errors)]
        if problems:
            raise RecordingError(problems)
        return Recording(
            resources=tuple(self._monitor.recorded[urn] for urn in urns),
            outputs=self._monitor.stack_outputs,
            warnings=tuple(self._log.warnings),
        )

    async def _run(self) -> list[str]:
        """Run the program on the running loop; return the URNs in the order of construction."""
        settings.ROOT.set(None)
        # set_mocks leaves these as another run in the process set them.
        settings.SETTINGS.outputs = set()
        settings.SETTINGS.lock = threading.Lock()
        settings.SETTINGS.legacy_apply_enabled = False
        settings.SETTINGS.package_refs = {}
        settings.SETTINGS.base_providers_by_ref = {}
        set_all_config(self._config, self._secret_keys)
        logger = logging.Logger("rungway.recorder", logging.WARNING)
        logger.addHandler(self._log)
        # The root stack is made here, on this loop: on any other, the program would wait for it for ever.
        mocks.set_mocks(
            _NoMocks(),
            project=self._project,
            stack=self._stack,
            preview=True,
            logger=logger,
            monitor=self._monitor,
            organization="organization",
        )
        register_stack_transformation(self._note_construction)
        await run_pulumi_func(self._run_program)
        return list(dict.fromkeys([await _urn(resource) for resource in self._constructed]))

    def _note_construction(self, args: pulumi.ResourceTransformationArgs) -> None:
        """Registrations reach the monitor as their inputs resolve; the order of construction is the program's own."""
        self._constructed.append(args.resource)

    def _run_program(self) -> None:
        try:
            self._program()
        except BaseException as error:
            self._program_error = error
            raise
        root = settings.get_root_resource()
        if isinstance(root, Stack):
            # set_mocks closed the stack's outputs before the program could add any.
            root.register_outputs(massage(root.outputs, []))


async def _urn(resource: pulumi.Resource) -> str:
    urn = await resource.urn.future()
    return urn or ""


class _NoMocks(mocks.Mocks):
    """The recorder answers registrations itself; nothing is mocked."""

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise RecordingError([_unanswerable(f"function {args.token}")])

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        raise RecordingError([_unanswerable(f"{args.name} ({args.typ})")])


def _unanswerable(subject: str) -> str:
    return f"{subject}: asks a provider, which an offline plan can't do; pass the value in as a setting, or plan with --engine"


class _RecordingMonitor(mocks.MockMonitor):
    """Stands where the engine's resource monitor stands."""

    def __init__(self, project: str, stack: str) -> None:
        super().__init__(_NoMocks())
        self.recorded: dict[str, Resource] = {}
        self.stack_outputs: dict[str, Any] = {}
        self.problems: list[str] = []
        self._project = project
        self._stack = stack
        self._root_urn = ""
        self._protect: dict[str, bool | None] = {}
        self._retain_on_delete: dict[str, bool | None] = {}

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The engine's URN: the parent's whole chain of types, of which the root stack is no part."""
        parent_types = _qualified_type(parent) if parent else ""
        if parent_types not in {"", _ROOT_STACK_TYPE}:
            type_ = f"{parent_types}${type_}"
        return f"urn:pulumi:{self._stack}::{self._project}::{type_}::{name}"

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> resource_pb2.RegisterResourceResponse:  # noqa: N802
        """Record the resource and answer as a preview of its creation does."""
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == _ROOT_STACK_TYPE:
            self._root_urn = urn
            return resource_pb2.RegisterResourceResponse(urn=urn)
        label = f"{request.name} ({request.type})"
        if _OUTPUT_AS_TEXT in request.name:
            label = f"a resource of type {request.type}"
            self.problems.append(f"{label}: name: {_OUTPUT_AS_TEXT_ADVICE}, or a name known before deployment")
        elif urn in self.recorded:
            self.problems.append(f"{urn}: two resources have this URN; give one of them another name")
        if request.remote:
            self.problems.append(_unanswerable(label))
        if request.transforms:
            self.problems.append(
                f"{label}: transforms: an offline plan does not run resource transforms; remove them, or plan with --engine"
            )
        self._protect[urn] = request.protect if request.HasField("protect") else self._protect.get(request.parent)
        self._retain_on_delete[urn] = (
            request.retainOnDelete if request.HasField("retainOnDelete") else self._retain_on_delete.get(request.parent)
        )
        if urn not in self.recorded:
            self.recorded[urn] = Resource(
                urn=urn,
                type=request.type,
                name=request.name,
                parent=None if request.parent in {"", self._root_urn} else request.parent,
                component=not request.custom,
                inputs=self._plain_struct(request.object, label),
                protect=bool(self._protect[urn]),
                ignore_changes=tuple(request.ignoreChanges),
                aliases=self._aliases(request),
                dependencies=tuple(
                    sorted({*request.dependencies, *(u for deps in request.propertyDependencies.values() for u in deps.urns)})
                ),
                delete_before_replace=request.deleteBeforeReplace,
                retain_on_delete=bool(self._retain_on_delete[urn]),
            )
        return resource_pb2.RegisterResourceResponse(urn=urn, id="", object=_preview_outputs(request))

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> empty_pb2.Empty:  # noqa: N802
        """Keep the stack's outputs; look into those of components for the same mistakes."""
        if request.urn == self._root_urn:
            self.stack_outputs = self._plain_struct(request.outputs, "stack outputs")
        else:
            resource = self.recorded.get(request.urn)
            self._plain_struct(request.outputs, f"{resource.name} ({resource.type}): outputs" if resource else request.urn)
        return empty_pb2.Empty()

    def ReadResource(self, request: resource_pb2.ReadResourceRequest) -> resource_pb2.ReadResourceResponse:  # noqa: N802
        """Refuse: what exists at a provider can't be read offline."""
        raise RecordingError([_unanswerable(f"{request.name} ({request.type})")])

    def Invoke(self, request: resource_pb2.ResourceInvokeRequest) -> resource_pb2.ResourceInvokeResponse:  # noqa: N802
        """Refuse: a provider's function can't be called offline."""
        raise RecordingError([_unanswerable(f"function {request.tok}")])

    def RegisterStackTransform(self, request: Any) -> empty_pb2.Empty:  # noqa: ARG002, N802
        """Refuse: the engine would run the transform over every later registration."""
        raise RecordingError([f"stack: {_TRANSFORMS}"])

    def _aliases(self, request: resource_pb2.RegisterResourceRequest) -> tuple[str, ...]:
        """Full URNs: the resource's own aliases first, then one for each alias of its parent, as the engine multiplies them."""
        own = [self._alias_urn(request, alias) for alias in request.aliases] + list(request.aliasURNs)
        parent = self.recorded.get(request.parent)
        if parent is None:
            return tuple(dict.fromkeys(own))
        inherited = []
        for parent_alias in parent.aliases:
            inherited.append(self._inherited_alias(request.type, request.name, parent.name, parent_alias))
            for alias in own:
                inherited.append(self._inherited_alias(_qualified_type(alias).split("$")[-1], _urn_name(alias), parent.name, parent_alias))
        return tuple(dict.fromkeys([*own, *inherited]))

    def _alias_urn(self, request: resource_pb2.RegisterResourceRequest, alias: alias_pb2.Alias) -> str:
        if alias.WhichOneof("alias") == "urn":
            return alias.urn
        spec = alias.spec
        parent = "" if spec.noParent else spec.parentUrn or request.parent
        type_ = spec.type or request.type
        name = spec.name or request.name
        if parent and _qualified_type(parent) != _ROOT_STACK_TYPE:
            return f"{parent[: parent.rindex('::')]}${type_}::{name}"
        return f"urn:pulumi:{spec.stack or self._stack}::{spec.project or self._project}::{type_}::{name}"

    def _inherited_alias(self, type_: str, name: str, parent_name: str, parent_alias: str) -> str:
        if name.startswith(parent_name):
            name = _urn_name(parent_alias) + name.removeprefix(parent_name)
        return f"urn:pulumi:{self._stack}::{self._project}::{_qualified_type(parent_alias)}${type_}::{name}"

    def _plain_struct(self, struct: struct_pb2.Struct, label: str) -> dict[str, Any]:
        for path in _outputs_as_text(struct, ""):
            self.problems.append(f"{label}: {path}: {_OUTPUT_AS_TEXT_ADVICE}")
        return {key: _plain(struct.fields[key]) for key in sorted(struct.fields)}


def _qualified_type(urn: str) -> str:
    return urn.split("::", 3)[2]


def _urn_name(urn: str) -> str:
    return urn.split("::", 3)[3]


def _preview_outputs(request: resource_pb2.RegisterResourceRequest) -> struct_pb2.Struct:
    """The outputs that a preview knows: the inputs. Outputs that the SDK calls secret are so even while they are unknown."""
    outputs = struct_pb2.Struct()
    outputs.CopyFrom(request.object)
    if request.custom:
        for key in request.additionalSecretOutputs:
            value = outputs.fields[key] if key in outputs.fields else struct_pb2.Value(string_value=rpc.UNKNOWN)
            if _signature(value) != rpc._special_secret_sig:
                secret = struct_pb2.Struct()
                secret.fields[rpc._special_sig_key].string_value = rpc._special_secret_sig
                secret.fields["value"].CopyFrom(value)
                outputs.fields[key].struct_value.CopyFrom(secret)
    return outputs


def _signature(value: struct_pb2.Value) -> str:
    """The SDK's mark for what kind of thing a struct stands for, or an empty string."""
    if value.WhichOneof("kind") != "struct_value" or rpc._special_sig_key not in value.struct_value.fields:
        return ""
    return str(value.struct_value.fields[rpc._special_sig_key].string_value)


def _plain(value: struct_pb2.Value) -> Any:
    """A JSON value with placeholders in place of secrets and unknowns.

    Assets and archives become {"asset": {...}} and {"archive": {...}}, a resource reference becomes its id, or its URN for a component.
    """
    signature = _signature(value)
    if signature == rpc._special_secret_sig:
        return SECRET
    if signature in {rpc._special_asset_sig, rpc._special_archive_sig}:
        kind = "asset" if signature == rpc._special_asset_sig else "archive"
        return {kind: {key: _plain(field) for key, field in sorted(value.struct_value.fields.items()) if key != rpc._special_sig_key}}
    if signature == rpc._special_resource_sig:
        fields = value.struct_value.fields
        return _plain(fields["id"]) if "id" in fields else fields["urn"].string_value
    match value.WhichOneof("kind"):
        case "string_value":
            return UNKNOWN if value.string_value == rpc.UNKNOWN else value.string_value
        case "number_value":
            # The wire knows only floating-point numbers; a whole one was an integer.
            return int(value.number_value) if value.number_value.is_integer() else value.number_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return {key: _plain(value.struct_value.fields[key]) for key in sorted(value.struct_value.fields)}
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case _:
            return None


def _outputs_as_text(value: struct_pb2.Struct | struct_pb2.Value, path: str) -> Iterator[str]:
    """Paths of texts and keys into which an Output was formatted, also inside secrets."""
    if isinstance(value, struct_pb2.Value):
        kind = value.WhichOneof("kind")
        if kind == "string_value" and _OUTPUT_AS_TEXT in value.string_value:
            yield path
        elif kind == "list_value":
            for index, item in enumerate(value.list_value.values):
                yield from _outputs_as_text(item, f"{path}[{index}]")
        elif kind == "struct_value":
            secret = _signature(value) == rpc._special_secret_sig
            yield from _outputs_as_text(value.struct_value.fields["value"] if secret else value.struct_value, path)
        return
    for key in sorted(value.fields):
        if _OUTPUT_AS_TEXT in key:
            yield f"{path} (a key)".strip()
        else:
            yield from _outputs_as_text(value.fields[key], f"{path}.{key}" if path else key)
