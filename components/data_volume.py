"""A protected volume for what must not be lost."""

from typing import NotRequired, TypedDict

import pulumi

from components.arguments import Arguments

SMALLEST_GB = 10
"""The smallest volume that Hetzner sells (Hetzner Cloud API, POST /volumes); DigitalOcean's minimum is 1 GB."""
LARGEST_GB = 10_000
"""Below both limits: 10,240 GB at Hetzner (Hetzner Cloud API, POST /volumes), 16 TiB at DigitalOcean."""


class DataVolumeArgs(TypedDict):
    """Size and place of the volume."""

    provider: pulumi.Input[str]
    """hetzner or digitalocean."""
    location: pulumi.Input[str]
    """The provider's location. Frozen: a change would replace the volume."""
    size_gb: pulumi.Input[int]
    """Size in GB, 10 to 10,000. It can grow in place; no provider shrinks a volume."""
    server_id: NotRequired[pulumi.Input[str]]
    """Server that the volume hangs on. Without one the volume stays, unattached."""
    labels: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """Labels of the volume; DigitalOcean gets them as 'key:value' tags."""


class DataVolume(pulumi.ComponentResource):
    """A volume that neither an edit nor a deleted server takes away: protected in the state and, at Hetzner, at the provider."""

    volume_id: pulumi.Output[str]
    """Id of the volume."""

    def __init__(self, name: str, args: DataVolumeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:DataVolume", name, {}, opts)
        arguments = Arguments("DataVolume", name, args, DataVolumeArgs)
        provider = arguments.provider()
        if not isinstance(args.get("size_gb"), pulumi.Output):
            arguments.number("size_gb", SMALLEST_GB, LARGEST_GB, SMALLEST_GB)
        arguments.check()
        server_id = args.get("server_id")
        # A volume hangs on one server at a time, so the old attachment goes before the new one comes.
        attachment = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        if provider == "hetzner":
            from pulumi_hcloud.volume import Volume as HetznerVolume
            from pulumi_hcloud.volume_attachment import VolumeAttachment as HetznerAttachment

            volume = HetznerVolume(
                name,
                size=args["size_gb"],
                location=args["location"],
                format="ext4",
                delete_protection=True,
                labels=args.get("labels"),
                # The format is for a new volume only: on one that holds data a change must do nothing.
                opts=pulumi.ResourceOptions(parent=self, protect=True, ignore_changes=["format"]),
            )
            if server_id is not None:
                HetznerAttachment(
                    f"{name}-attachment",
                    volume_id=volume.id.apply(int),
                    server_id=pulumi.Output.from_input(server_id).apply(int),
                    automount=False,
                    opts=attachment,
                )
            self.volume_id = volume.id
        else:
            from pulumi_digitalocean.volume import Volume as DigitalOceanVolume
            from pulumi_digitalocean.volume_attachment import VolumeAttachment as DigitalOceanAttachment

            droplet_volume = DigitalOceanVolume(
                name,
                size=args["size_gb"],
                region=args["location"],
                initial_filesystem_type="ext4",
                tags=tags(args.get("labels")),
                opts=pulumi.ResourceOptions(parent=self, protect=True, ignore_changes=["initialFilesystemType"]),
            )
            if server_id is not None:
                DigitalOceanAttachment(
                    f"{name}-attachment",
                    volume_id=droplet_volume.id,
                    droplet_id=pulumi.Output.from_input(server_id).apply(int),
                    opts=attachment,
                )
            self.volume_id = droplet_volume.id
        self.register_outputs({"volume_id": self.volume_id})


def tags(labels: pulumi.Input[dict[str, pulumi.Input[str]]] | None) -> pulumi.Output[list[str]] | None:
    """Labels as DigitalOcean writes them: sorted 'key:value' tags."""
    if labels is None:
        return None
    return pulumi.Output.from_input(labels).apply(lambda known: [f"{key}:{value}" for key, value in sorted(known.items())])
