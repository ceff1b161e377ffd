"""Lets an offline plan load only the modules of a provider's SDK that its program names.

The `__init__` of a provider's package imports every module of it: about 1.5 s for pulumi_cloudflare and 0.4 s for pulumi_digitalocean,
most of the time of a plan. A bare package is the same package before its `__init__` ran: `from pulumi_cloudflare.r2_bucket import R2Bucket`
then loads r2_bucket and what it imports itself. An engine run never uses this.

Measured with R2BucketCors, DnsRecord, Server and Network: 1.6 s with whole packages, 0.8 s bare, 0.6 s bare with the collector paused. What
is left is pulumi_cloudflare's modules of nested types, which its modules import whole.
"""

import gc
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

PROVIDER_PACKAGES = ("pulumi_cloudflare", "pulumi_digitalocean", "pulumi_hcloud", "pulumi_kubernetes")


@contextmanager
def bare_provider_packages() -> Iterator[None]:
    """Make the first import of a provider's submodule, within the block, load that submodule alone.

    Packages that are loaded already, or not installed, are left as they are. A name that is no submodule (`pulumi_hcloud.Server`) runs the
    package's `__init__` after all, so that programs written that way work too, only slower. Classes are the same objects either way.

    Within the block Python's cyclic garbage collector rests: it would go through thousands of new classes again and again, all of them
    in use.
    """
    collecting = gc.isenabled()
    gc.disable()
    bare = {name: module for name in PROVIDER_PACKAGES if name not in sys.modules and (module := _bare_package(name)) is not None}
    sys.modules.update(bare)
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        for name, module in bare.items():
            untouched = not any(loaded.startswith(f"{name}.") for loaded in sys.modules)
            if untouched and sys.modules.get(name) is module:
                del sys.modules[name]


def _bare_package(name: str) -> ModuleType | None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return None
    loader = spec.loader
    module = importlib.util.module_from_spec(spec)

    def load(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        if importlib.util.find_spec(f"{name}.{attribute}") is not None:
            return importlib.import_module(f"{name}.{attribute}")
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, attribute)

    module.__dict__["__getattr__"] = load
    return module
