"""The command line: one command a verb, each a thin caller of the module that does the work."""

import json
from pathlib import Path
from typing import Any

import click

from rungway.errors import RungwayError

NOT_BUILT = 4
"""Exit code of a plan that asks for parts that Rungway can't build yet."""
CLOSED_PIPE = 141
"""Exit code when nobody reads any more: what a shell says of a program that SIGPIPE ended."""
DRIFTED = 6
"""Exit code when servers are not what they should be."""


class _Stack(click.ParamType[str]):
    """A stack's name or path, completed from the project's own stack files."""

    name = "stack"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002 (click's form)
        """The project's stacks that start with what was typed."""
        from click.shell_completion import CompletionItem

        from rungway.stacks import all_stacks, project_root

        return [CompletionItem(stack.name) for stack in all_stacks(project_root(Path.cwd())) if stack.name.startswith(incomplete)]


STACK = _Stack()
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs (docs/plan-json.md) instead of text.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rungway")
def cli() -> None:
    """Takes a web application from one cheap server to many regions, one Pulumi stack at a time.

    A STACK is a phase beside Pulumi.yaml (phase2), a roadmap's phase (vps/phase3), or the path of a stack file.
    """


def _show(text: str) -> None:
    try:
        click.echo(text.rstrip("\n"))
    except BrokenPipeError:
        # The reader has gone (`rungway plan phase2 | head`). Click would end with 1, which says that something is wrong with the stack.
        raise SystemExit(CLOSED_PIPE) from None
    except OSError as error:
        raise RungwayError(
            f"standard output: can't write: {error.strerror}; allowed: a place with room", hint="send it somewhere else and run it again"
        ) from error


def _say(progress: str) -> None:
    """Progress goes to standard error, so that standard output holds the report alone."""
    click.echo(progress, err=True)


def _show_json(document: dict[str, Any]) -> None:
    _show(json.dumps(document, indent=2, ensure_ascii=False))


@cli.command()
@click.argument("stack", type=STACK)
@click.option("--engine", is_flag=True, help="Ask the real Pulumi engine and providers for a preview (needs the Pulumi CLI).")
@_json
def plan(stack: str, engine: bool, as_json: bool) -> None:
    """Show what a stack would build and what it costs.

    Needs no account, no token and no network. Exits with 1 when the plan has an error, with 4 when it asks for parts that are not built
    yet.
    """
    from rungway.model import Level
    from rungway.planning import plan_stack

    result = plan_stack(stack, engine=engine)
    if as_json:
        from rungway.plan_json import plan_to_json

        _show_json(plan_to_json(result))
    else:
        from rungway.tree import plan_text

        _show(plan_text(result))
    levels = {finding.level for finding in result.findings}
    if Level.ERROR in levels:
        raise SystemExit(1)
    if Level.NOT_BUILT in levels:
        raise SystemExit(NOT_BUILT)


@cli.command()
@click.argument("stack", type=STACK)
@_json
def cost(stack: str, as_json: bool) -> None:
    """Show what a stack costs a month, by component, against its budget. Exits with 1 when it is over."""
    from rungway.cost_text import cost_json, cost_text
    from rungway.planning import plan_stack

    result = plan_stack(stack)
    if as_json:
        _show_json(cost_json(result))
    else:
        _show(cost_text(result))
    if any(finding.code == "over_budget" for finding in result.findings):
        raise SystemExit(1)


@cli.command()
@click.argument("stacks", type=STACK, nargs=-1)
def check(stacks: tuple[str, ...]) -> None:
    """Check stack files: settings, budgets, provider inputs. Without a name: every stack of the project.

    Prints a line a stack, then every problem. Exits with 1 when any stack has an error.
    """
    from rungway.check import check_stacks

    text, clean = check_stacks(stacks)
    _show(text)
    if not clean:
        raise SystemExit(1)


@cli.command()
@click.argument("before", type=STACK)
@click.argument("after", type=STACK, required=False)
@click.option("--against-git", "ref", metavar="REF", help="Compare the stack at a git revision with the stack as it is now.")
@click.option(
    "--against-state",
    "state_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Compare a state (from `pulumi stack export`) with the stack.",
)
@click.option(
    "--allow", "allowed", metavar="URN", multiple=True, help="Confirm that this very resource may be replaced or deleted. Repeatable."
)
@_json
def diff(before: str, after: str | None, ref: str | None, state_file: Path | None, allowed: tuple[str, ...], as_json: bool) -> None:
    """Show what moving from one stack to another changes: resources, money, risk to data.

    \b
    rungway diff mvp phase2
    rungway diff phase2 --against-git main
    rungway diff phase2 --against-state state.json

    Exits with 3 when something that holds data would be replaced or deleted and its URN was not allowed.
    """
    from rungway.comparing import compare
    from rungway.diff import exit_code

    if sum(value is not None for value in (after, ref, state_file)) != 1:
        raise click.UsageError("give a second stack, or --against-git REF, or --against-state FILE: exactly one of them")
    result = compare(before, after=after, ref=ref, state_file=state_file, allowed=frozenset(allowed))
    if as_json:
        from rungway.plan_json import diff_to_json

        _show_json(diff_to_json(result))
    else:
        from rungway.diff_text import diff_text

        _show(diff_text(result))
    code = exit_code(result)
    if code:
        raise SystemExit(code)


@cli.command()
@click.argument("stack", type=STACK)
@click.option("--format", "form", type=click.Choice(["mermaid", "svg"]), default="mermaid", show_default=True, help="Form of the picture.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of standard output.")
def graph(stack: str, form: str, output: Path | None) -> None:
    """Draw a stack's topology."""
    from rungway.graph import mermaid, svg
    from rungway.planning import plan_stack

    drawing = (svg if form == "svg" else mermaid)(plan_stack(stack))
    if output is None:
        _show(drawing)
        return
    try:
        output.write_text(drawing, encoding="utf-8")
    except OSError as error:
        raise RungwayError(f"{output}: can't write the picture: {error.strerror}") from error


@cli.command()
@click.argument("stack", type=STACK)
@click.argument("directory", type=click.Path(path_type=Path))
def render(stack: str, directory: Path) -> None:
    """Write every file of every server of a stack to DIRECTORY/SERVER/PATH.

    Passwords, keys and addresses that a provider assigns stay placeholders. server.json beside the files lists packages, units, owners and
    modes. DIRECTORY must be new or empty.
    """
    from rungway.rendering import write_stack

    _show(f"{directory}: {len(write_stack(stack, directory))} files written")


@cli.command()
@click.argument("stack", type=STACK)
@click.option("--role", "roles", multiple=True, help="Rehearse only servers of this role, for example database. Repeatable.")
@click.option("--keep", is_flag=True, help="Leave the servers up afterwards, for a look.")
@click.option("--down", is_flag=True, help="Remove what an earlier rehearsal left up, or end a running one, and do nothing else.")
@click.option("--container", is_flag=True, help="Run in a Docker container even where this machine itself could.")
@_json
def rehearse(stack: str, roles: tuple[str, ...], keep: bool, down: bool, container: bool, as_json: bool) -> None:
    """Boot a stack's servers on this machine, with their real services, and try what can go wrong.

    Needs root on Debian or Ubuntu, or else Docker (docs/rehearsal.md), and nothing of a provider. Exits with 1 when a check failed.
    """
    import time

    from rungway.rehearsal.container import rehearse_in_container, runs_in_container, take_down_container
    from rungway.rehearsal.rehearse import rehearsed, take_down
    from rungway.rehearsal.report import check_text, report_json, summary

    in_container = runs_in_container(forced=container, say=_say)
    if down:
        (take_down_container if in_container else take_down)(stack)
        return
    if in_container:
        raise SystemExit(rehearse_in_container(stack, roles, keep=keep, as_json=as_json, say=_say))
    began = time.monotonic()
    checks = []
    for check in rehearsed(stack, _say, roles=frozenset(roles), keep=keep):
        checks.append(check)
        if not as_json:
            _show(check_text(check))
    if as_json:
        _show_json(report_json(stack, time.monotonic() - began, checks))
    else:
        _show(summary(checks))
    if any(check.ok is False for check in checks):
        raise SystemExit(1)


@cli.command()
@click.argument("stack", type=STACK)
@click.option("--server", metavar="NAME", help="Database server to restore on. Default: the last of the first region, a standby if any.")
@click.option("--to", default="", metavar="TIME", help="Restore to this time (ISO 8601) instead of the end of the archive.")
@click.option(
    "--ssh-config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="OpenSSH client configuration that knows the servers by their names, instead of your own.",
)
@_json
def drill(stack: str, server: str | None, to: str, ssh_config: Path | None, as_json: bool) -> None:
    """Restore the latest backup on a database server, beside the running database, and check what was promised.

    Needs the OpenSSH client. Exits with 1 when a promise was missed.
    """
    from rungway.drill import drill_json, drill_text, run_drill
    from rungway.remote import run_on_server
    from rungway.servers import servers_of_stack

    hosts = {host.name: host for host in servers_of_stack(stack)}
    result = run_drill(
        [*hosts.values()], lambda name, command: run_on_server(hosts[name], command, ssh_config=ssh_config), server=server, to=to
    )
    if as_json:
        _show_json(drill_json(result))
    else:
        _show(drill_text(result))
    if result.exit_code:
        raise SystemExit(result.exit_code)


@cli.command()
@click.argument("stack", type=STACK)
@click.option("--server", help="Look at this server alone.")
@click.option(
    "--ssh-config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="OpenSSH client configuration that knows the servers by their names, instead of the user's own.",
)
@_json
def drift(stack: str, server: str | None, ssh_config: Path | None, as_json: bool) -> None:
    """Show what a convergence would change on a stack's servers, with a diff of every file, and change nothing.

    What holds a secret is not compared. Exits with 6 when something differs.
    """
    from rungway.drift import drift_json, drift_text, look

    found = look(stack, server=server, ssh_config=ssh_config)
    if as_json:
        _show_json(drift_json(found))
    else:
        _show(drift_text(found))
    if any(each.changes for each in found):
        raise SystemExit(DRIFTED)


@cli.command()
@click.argument("stack", type=STACK)
@click.option("--prometheus", required=True, metavar="URL", help="Prometheus of the stack, for example http://127.0.0.1:9090 through SSH.")
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="How far to look back.")
@_json
def advise(stack: str, prometheus: str, days: int, as_json: bool) -> None:
    """Read the stack's own figures and say: stay, tune, or climb; to which phase, why, and what it costs.

    Exits with 5 when Prometheus has no figures.
    """
    from rungway.advise import advice_json, advice_text, advise_stack

    result = advise_stack(stack, prometheus, days)
    if as_json:
        _show_json(advice_json(result))
    else:
        _show(advice_text(result))
    if result.exit_code:
        raise SystemExit(result.exit_code)


@cli.group()
def prices() -> None:
    """The price catalogue (infra/catalog/prices.yaml)."""


@prices.command()
@click.argument("provider", type=click.Choice(["hetzner", "digitalocean"]))
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the token, instead of HCLOUD_TOKEN or DIGITALOCEAN_TOKEN.",
)
def refresh(provider: str, token_file: Path | None) -> None:
    """Rewrite a provider's rows from its own API and say what changed. Needs a read-only token."""
    from rungway.prices_refresh import refresh_prices

    _show(refresh_prices(provider, token_file=token_file))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands and stack names in a shell.

    \b
    bash: rungway completion bash > ~/.local/share/bash-completion/completions/rungway
    zsh:  rungway completion zsh > a folder of $fpath, as _rungway
    fish: rungway completion fish > ~/.config/fish/completions/rungway.fish
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is None:
        raise RungwayError(f"shell '{shell}': no completion is known for it")
    _show(script(cli, {}, "rungway", "_RUNGWAY_COMPLETE").source())


@cli.group()
def docs() -> None:
    """Pages of the documentation that the program itself produces."""


@docs.command("write")
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit with 1 when a page is out of date.")
def docs_write(only_check: bool) -> None:
    """Write the generated parts of README.md and docs/ anew."""
    from rungway.documentation import write_documentation

    stale = write_documentation(only_check=only_check)
    for path in stale:
        _show(f"{path}: {'out of date; run `rungway docs write`' if only_check else 'written'}")
    if stale and only_check:
        raise SystemExit(1)
