"""The front end on Pages."""

from typing import Any

from components.static_site import StaticSite
from rungway.model import UNKNOWN
from tests.support.built import Built, build, problems


def sites() -> Built:
    def program() -> dict[str, Any]:
        shop, blog = (
            StaticSite(
                name,
                {
                    "account_id": "account",
                    "zone_id": "zone",
                    "project_name": f"shop-{name}",
                    "hostname": f"{name}.example.com",
                    "production_branch": "main",
                },
            )
            for name in ("site", "blog")
        )
        return {"url": shop.url, "project": blog.project_name, "pages": blog.pages_hostname}

    return build(program)


def test_two_sites_side_by_side_have_these_urns() -> None:
    in_site = "rungway:index:StaticSite$cloudflare:index"
    assert sites().urns == [
        f"{start}{name}{end}"
        for name in ("site", "blog")
        for start, end in (
            ("rungway:index:StaticSite::", ""),
            (f"{in_site}/pagesProject:PagesProject::", ""),
            (f"{in_site}/pagesDomain:PagesDomain::", "-domain"),
            (f"{in_site}/dnsRecord:DnsRecord::", "-dns"),
        )
    ]


def test_the_name_leads_to_the_project_once_pages_knows_it() -> None:
    built = sites()

    assert built.inputs("PagesProject", "site") == {"accountId": "account", "name": "shop-site", "productionBranch": "main"}
    assert built.inputs("PagesDomain", "site-domain") == {"accountId": "account", "name": "site.example.com", "projectName": "shop-site"}
    assert built.inputs("DnsRecord", "site-dns") == {
        "zoneId": "zone",
        "name": "site.example.com",
        "type": "CNAME",
        "content": UNKNOWN,
        "proxied": True,
        "ttl": 1,
    }
    assert built.waits_for("DnsRecord", "site-dns") == [
        "cloudflare:index/pagesDomain:PagesDomain::site-domain",
        "cloudflare:index/pagesProject:PagesProject::site",
    ]
    assert built.outputs == {"url": "https://site.example.com", "project": "shop-blog", "pages": UNKNOWN}


def test_every_problem_is_named_at_once() -> None:
    args: Any = {"account_id": "account", "zone_id": "zone", "project": "shop", "hostname": "www.example.com", "production_branch": "main"}
    assert problems(lambda: StaticSite("site", args)) == [
        "site (StaticSite): project: found an unknown argument; allowed: account_id, hostname, production_branch, project_name, zone_id; "
        "did you mean 'project_name'?",
        "site (StaticSite): project_name: found nothing; it is required",
    ]
