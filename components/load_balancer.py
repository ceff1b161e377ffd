"""The provider's load balancer in front of the servers that carry certain labels."""

from typing import Any, NotRequired, TypedDict

import pulumi

from components.arguments import Arguments

_ALGORITHMS = ("least_connections", "round_robin")
CHECK_INTERVAL_SECONDS, CHECK_TIMEOUT_SECONDS, CHECK_RETRIES = 10, 5, 3
"""Three failures ten seconds apart take a server out: half a minute, the defaults' order of magnitude at both providers."""


class LoadBalancerArgs(TypedDict):
    """What a load balancer listens on, and who answers."""

    provider: pulumi.Input[str]
    """hetzner or digitalocean."""
    location: pulumi.Input[str]
    """The provider's location."""
    type: pulumi.Input[str]
    """Hetzner: lb11, lb21 or lb31. DigitalOcean: the number of nodes, as '1' to '100'."""
    subnet_id: NotRequired[pulumi.Input[str]]
    """Private network (PrivateNetwork.subnet_ids), through which the servers are reached."""
    private_address: NotRequired[pulumi.Input[str]]
    """Address in the private network (Hetzner)."""
    algorithm: NotRequired[pulumi.Input[str]]
    """round_robin (when absent) or least_connections."""
    target_label: NotRequired[pulumi.Input[str]]
    """Label selector of the servers behind it (Hetzner), for example 'role=app,region=eu'."""
    target_tag: NotRequired[pulumi.Input[str]]
    """Tag of the servers behind it (DigitalOcean)."""
    http_port: NotRequired[pulumi.Input[int]]
    """Port of the servers for plain HTTP; 80 when absent."""
    https_port: NotRequired[pulumi.Input[int]]
    """Port of the servers for TLS; 443 when absent."""
    health_check_path: NotRequired[pulumi.Input[str]]
    """Path on http_port that answers 200 when a server can serve; '/health' when absent."""
    certificate_pem: NotRequired[pulumi.Input[str]]
    """Certificate chain. With it TLS ends here; without it TLS passes through to the servers."""
    private_key_pem: NotRequired[pulumi.Input[str]]
    """Private key of the certificate; secret."""
    labels: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """Labels of the load balancer (Hetzner)."""


class LoadBalancer(pulumi.ComponentResource):
    """Ports 80 and 443 in front of every server that carries the label, with health checks.

    TLS passes through to the servers, with the client's address in the PROXY protocol, unless a certificate is given.
    """

    public_ipv4: pulumi.Output[str]
    """Public IPv4 address."""
    public_ipv6: pulumi.Output[str]
    """Public IPv6 address."""

    def __init__(self, name: str, args: LoadBalancerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:LoadBalancer", name, {}, opts)
        arguments = Arguments("LoadBalancer", name, args, LoadBalancerArgs)
        provider = arguments.provider()
        algorithm = arguments.choice("algorithm", _ALGORITHMS, "round_robin")
        ends_tls = args.get("certificate_pem") is not None
        if ends_tls != (args.get("private_key_pem") is not None):
            missing = "private_key_pem" if ends_tls else "certificate_pem"
            arguments.problem(missing, None, "both certificate_pem and private_key_pem, or neither")
        target = {"hetzner": "target_label", "digitalocean": "target_tag"}.get(provider, "")
        if target and not args.get(target):
            arguments.problem(target, args.get(target), "what the servers behind it carry")
        arguments.check()
        if provider == "hetzner":
            self._hetzner(name, args, algorithm, ends_tls)
        else:
            self._digitalocean(name, args, algorithm, ends_tls)
        self.register_outputs({"public_ipv4": self.public_ipv4, "public_ipv6": self.public_ipv6})

    def _hetzner(self, name: str, args: LoadBalancerArgs, algorithm: str, ends_tls: bool) -> None:
        from pulumi_hcloud.load_balancer import LoadBalancer as Balancer
        from pulumi_hcloud.load_balancer_network import LoadBalancerNetwork
        from pulumi_hcloud.load_balancer_service import LoadBalancerService
        from pulumi_hcloud.load_balancer_target import LoadBalancerTarget

        child = pulumi.ResourceOptions(parent=self)
        balancer = Balancer(
            name,
            name=name,
            load_balancer_type=args["type"],
            location=args["location"],
            algorithm={"type": algorithm},
            labels=args.get("labels"),
            opts=self._unique(),
        )
        number = balancer.id.apply(int)
        after: list[pulumi.Resource] = []
        if args.get("subnet_id") is not None:
            after.append(
                LoadBalancerNetwork(
                    f"{name}-private",
                    load_balancer_id=number,
                    subnet_id=args["subnet_id"],
                    ip=args.get("private_address"),
                    opts=self._unique(),
                )
            )
        LoadBalancerTarget(
            f"{name}-target",
            type="label_selector",
            load_balancer_id=number,
            label_selector=args["target_label"],
            use_private_ip=bool(after),
            # The private address is there only once the load balancer has joined the network.
            opts=pulumi.ResourceOptions(parent=self, depends_on=after),
        )
        http_port, https_port = args.get("http_port", 80), args.get("https_port", 443)
        check: Any = {
            "protocol": "http",
            "port": http_port,
            "interval": CHECK_INTERVAL_SECONDS,
            "timeout": CHECK_TIMEOUT_SECONDS,
            "retries": CHECK_RETRIES,
            "http": {"path": args.get("health_check_path", "/health"), "status_codes": ["200"]},
        }
        if ends_tls:
            from pulumi_hcloud.uploaded_certificate import UploadedCertificate

            certificate = UploadedCertificate(
                f"{name}-certificate",
                certificate=args["certificate_pem"],
                private_key=pulumi.Output.secret(args["private_key_pem"]),
                labels=args.get("labels"),
                opts=child,
            )
            LoadBalancerService(
                f"{name}-https",
                load_balancer_id=balancer.id,
                protocol="https",
                listen_port=443,
                destination_port=http_port,
                http={"certificates": [certificate.id.apply(int)], "redirect_http": True},
                health_check=check,
                opts=self._unique(),
            )
        else:
            for service, port, destination in (("http", 80, http_port), ("https", 443, https_port)):
                LoadBalancerService(
                    f"{name}-{service}",
                    load_balancer_id=balancer.id,
                    protocol="tcp",
                    listen_port=port,
                    destination_port=destination,
                    proxyprotocol=True,
                    health_check=check,
                    opts=self._unique(),
                )
        self.public_ipv4, self.public_ipv6 = balancer.ipv4, balancer.ipv6

    def _digitalocean(self, name: str, args: LoadBalancerArgs, algorithm: str, ends_tls: bool) -> None:
        from pulumi_digitalocean.load_balancer import LoadBalancer as Balancer

        child = pulumi.ResourceOptions(parent=self)
        http_port, https_port = args.get("http_port", 80), args.get("https_port", 443)
        plain = {"entry_port": 80, "entry_protocol": "http", "target_port": http_port, "target_protocol": "http"}
        rules: list[Any]
        if ends_tls:
            from pulumi_digitalocean.certificate import Certificate

            certificate = Certificate(
                f"{name}-certificate",
                type="custom",
                leaf_certificate=args["certificate_pem"],
                private_key=pulumi.Output.secret(args["private_key_pem"]),
                opts=child,
            )
            rules = [
                plain,
                {
                    "entry_port": 443,
                    "entry_protocol": "https",
                    "target_port": http_port,
                    "target_protocol": "http",
                    "certificate_name": certificate.name,
                },
            ]
        else:
            passed = {
                "entry_port": 443,
                "entry_protocol": "https",
                "target_port": https_port,
                "target_protocol": "https",
                "tls_passthrough": True,
            }
            rules = [plain, passed]
        balancer = Balancer(
            name,
            name=name,
            region=args["location"],
            size_unit=pulumi.Output.from_input(args["type"]).apply(int),
            algorithm=algorithm,
            vpc_uuid=args.get("subnet_id"),
            droplet_tag=args["target_tag"],
            forwarding_rules=rules,
            redirect_http_to_https=ends_tls,
            enable_proxy_protocol=not ends_tls,
            healthcheck={
                "protocol": "http",
                "port": http_port,
                "path": args.get("health_check_path", "/health"),
                "check_interval_seconds": CHECK_INTERVAL_SECONDS,
                "response_timeout_seconds": CHECK_TIMEOUT_SECONDS,
                "unhealthy_threshold": CHECK_RETRIES,
                "healthy_threshold": CHECK_RETRIES,
            },
            opts=self._unique(),
        )
        self.public_ipv4, self.public_ipv6 = balancer.ip, balancer.ipv6

    def _unique(self) -> pulumi.ResourceOptions:
        """Options of what can be there once only (a name, a port, a private address): the old one goes before the new one comes."""
        return pulumi.ResourceOptions(parent=self, delete_before_replace=True)
