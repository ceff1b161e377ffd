"""Deploys a small program on Pulumi's own mocks: what the provider would say is known, unlike in a preview."""

import asyncio
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pulumi
from pulumi.runtime import mocks, settings

from rungway.provider_packages import bare_provider_packages


def id_of(type_end: str, name: str) -> str:
    """The id that the resource of this type, with this name, gets: a number, as text."""
    return str(zlib.crc32(f"{type_end}/{name}".encode()))


class _Provider(mocks.Mocks):
    def __init__(self, computed: Mapping[str, Mapping[str, Any]]) -> None:
        self.inputs: dict[tuple[str, str], dict[str, Any]] = {}
        self._computed = computed

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        type_end = args.typ.rsplit(":", 1)[-1]
        if args.custom:
            self.inputs[type_end, args.name] = args.inputs
        return id_of(type_end, args.name), {**args.inputs, **self._computed.get(type_end, {})}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"{args.token} was called")


class Deployed:
    """What a program ended with: the values that it returned, and the inputs of each resource by type and name."""

    def __init__(self, outputs: Any, inputs: dict[tuple[str, str], dict[str, Any]]) -> None:
        self.outputs = outputs
        self.inputs = inputs


def deploy(program: Callable[[], Any], computed: Mapping[str, Mapping[str, Any]] | None = None) -> Deployed:
    """Run the program and wait for what it returns; `computed` is what providers add to resources, by the last part of the type."""
    result: Future[Deployed] = Future()

    def work() -> None:
        provider = _Provider(computed or {})
        outputs: list[Any] = []
        # The mocks need a loop on the thread that answers registrations, too; nobody else would close it.
        loop, answering_loop = asyncio.new_event_loop(), asyncio.new_event_loop()
        executor = ThreadPoolExecutor(1, initializer=asyncio.set_event_loop, initargs=(answering_loop,))
        loop.set_default_executor(executor)
        asyncio.set_event_loop(loop)
        try:
            settings.ROOT.set(None)
            mocks.set_mocks(provider, project="rungway", stack="mvp", preview=False)
            run = pulumi.runtime.test(lambda: pulumi.Output.from_input(program()).apply(outputs.append))  # type: ignore[no-untyped-call]
            run()
            result.set_result(Deployed(outputs[0], provider.inputs))
        except BaseException as error:
            result.set_exception(error)
        finally:
            executor.shutdown()
            answering_loop.close()
            loop.close()

    # The SDK keeps its state in context variables and on the thread's event loop: a thread of its own has neither.
    thread = threading.Thread(target=work)
    with bare_provider_packages():
        thread.start()
        thread.join()
    return result.result()
