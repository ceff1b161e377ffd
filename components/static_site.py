"""A front end on Cloudflare Pages, at a host name of the zone."""

from typing import TypedDict

import pulumi

from components.arguments import Arguments


class StaticSiteArgs(TypedDict):
    """The Pages project and its host name."""

    account_id: pulumi.Input[str]
    """Cloudflare account."""
    zone_id: pulumi.Input[str]
    """Zone of the host name."""
    project_name: pulumi.Input[str]
    """Name of the Pages project. Frozen: a change would replace the project."""
    hostname: pulumi.Input[str]
    """Host name that the site is served at."""
    production_branch: pulumi.Input[str]
    """Branch whose deployments are live; others get preview addresses."""


class StaticSite(pulumi.ComponentResource):
    """A Pages project that takes uploads (`wrangler pages deploy`), its domain, and the DNS record that leads there."""

    url: pulumi.Output[str]
    """Address of the site."""
    project_name: pulumi.Output[str]
    """Name of the Pages project, which an upload needs."""
    pages_hostname: pulumi.Output[str]
    """Cloudflare's own host name of the project, under pages.dev."""

    def __init__(self, name: str, args: StaticSiteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:StaticSite", name, {}, opts)
        Arguments("StaticSite", name, args, StaticSiteArgs).check()
        from pulumi_cloudflare.dns_record import DnsRecord
        from pulumi_cloudflare.pages_domain import PagesDomain
        from pulumi_cloudflare.pages_project import PagesProject

        child = pulumi.ResourceOptions(parent=self)
        project = PagesProject(
            name, account_id=args["account_id"], name=args["project_name"], production_branch=args["production_branch"], opts=child
        )
        domain = PagesDomain(f"{name}-domain", account_id=args["account_id"], project_name=project.name, name=args["hostname"], opts=child)
        DnsRecord(
            f"{name}-dns",
            zone_id=args["zone_id"],
            name=args["hostname"],
            type="CNAME",
            # Not built from the name: where that was taken, Cloudflare added a suffix.
            content=project.subdomain,
            proxied=True,
            ttl=1,
            # A name that leads to Pages before Pages knows it shows visitors an error page.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[domain]),
        )
        self.url = pulumi.Output.from_input(args["hostname"]).apply(lambda known: f"https://{known}")
        self.project_name = project.name
        self.pages_hostname = project.subdomain
        self.register_outputs({"url": self.url, "project_name": self.project_name, "pages_hostname": self.pages_hostname})
