"""Pictures of a plan's topology: Mermaid text for Markdown, and an SVG that is drawn here, without any service or tool.

Both are the same byte for byte for the same plan. The SVG has its own opaque background and colours for light and dark surroundings, and
a title and description for those who do not see it.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from rungway.model import Plan
from rungway.topology import Group, Link, Member, Region, Topology, topology

_MOST_MEMBERS = 6
"""More members of one group than this are summed up in the last place."""


def mermaid(plan: Plan) -> str:
    """A Mermaid flowchart of the plan, as GitHub draws it in Markdown."""
    found = topology(plan)
    lines = ["flowchart TB", f"  accTitle: {_mermaid_text(_title(found))}", f"  accDescr: {_mermaid_text(_description(found))}"]
    keys: dict[str, str] = {}

    def node(group: Group, indent: str) -> str:
        keys[group.key] = f"n{len(keys)}"
        rows = [f"<b>{_mermaid_text(group.title)}</b>", *(_mermaid_text(_member_text(member)) for member in _shown(group.members))]
        text = "<br/>".join(rows)
        return f'{indent}{keys[group.key]}["{text}"]'

    if found.edge:
        lines += ['  visitors(["Visitors"])', '  subgraph edge ["Cloudflare"]', *(node(group, "    ") for group in found.edge), "  end"]
    for number, region in enumerate(found.regions):
        lines += [
            f'  subgraph r{number} ["{_mermaid_text(_region_title(region))}"]',
            *(node(group, "    ") for group in region.groups),
            "  end",
        ]
    if found.storage is not None:
        lines.append(node(found.storage, "  "))
    if found.edge:
        lines.append("  visitors --> edge")
    for link in found.links:
        arrow = "-.->" if link.dashed else "-->"
        label = f"|{_mermaid_text(link.label)}|" if link.label else ""
        lines.append(f"  {keys[link.source]} {arrow}{label} {keys[link.target]}")
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    """Text that Mermaid takes as it is: its own entities for whatever it or HTML would read as syntax."""
    entities = {
        "#": "#35;",
        '"': "#quot;",
        "<": "#lt;",
        ">": "#gt;",
        "&": "#amp;",
        "|": "#124;",
        "`": "#96;",
        ";": "#59;",
        "{": "#123;",
        "}": "#125;",
    }
    return "".join(entities.get(character, character) for character in _printable(text))


def svg(plan: Plan) -> str:
    """An SVG picture of the plan."""
    return _Picture(topology(plan)).draw()


def _title(found: Topology) -> str:
    return f"Topology of {found.stack}"


def _description(found: Topology) -> str:
    parts = [f"{group.title}: {', '.join(member.name for member in _shown(group.members))}" for group in found.edge]
    for region in found.regions:
        inside = "; ".join(f"{group.title}: {', '.join(member.name for member in _shown(group.members))}" for group in region.groups)
        parts.append(f"Region {_region_title(region)}: {inside}")
    if found.storage is not None:
        parts.append(f"{found.storage.title}: {', '.join(member.name for member in _shown(found.storage.members))}")
    return ". ".join(parts) + "." if parts else "Nothing is built."


def _region_title(region: Region) -> str:
    return " · ".join(part for part in (region.name, region.place) if part)


def _member_text(member: Member) -> str:
    return f"{member.name} · {member.detail}" if member.detail else member.name


def _shown(members: tuple[Member, ...]) -> tuple[Member, ...]:
    if len(members) <= _MOST_MEMBERS:
        return members
    rest = len(members) - (_MOST_MEMBERS - 1)
    return (*members[: _MOST_MEMBERS - 1], Member(f"and {rest} more", ""))


def _printable(text: str) -> str:
    """Without control characters, which neither XML nor Mermaid allows."""
    return "".join(character for character in text if unicodedata.category(character) not in {"Cc", "Cf", "Cs"})


_STYLE = """
    .page { fill: #ffffff; stroke: #d1d9e0; }
    .zone { fill: #f6f8fa; stroke: #d1d9e0; }
    .cloud { fill: #fff8f0; stroke: #f0c08a; }
    .card { fill: #ffffff; stroke: #d1d9e0; }
    .chip { fill: #f6f8fa; }
    .text { fill: #1f2328; }
    .soft { fill: #59636e; }
    .line { fill: none; stroke: #6e7781; stroke-width: 1.5; }
    .head { fill: #6e7781; stroke: none; }
    .dashed { stroke-dasharray: 5 4; }
    .entry, .load-balancer { fill: #bc4c00; } .site, .zone-mark { fill: #9a6700; } .app, .kubernetes { fill: #0969da; }
    .database { fill: #1a7f37; } .redis { fill: #cf222e; } .monitoring { fill: #8250df; } .storage { fill: #9a6700; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; stroke: #3d444d; }
      .zone { fill: #151b23; stroke: #3d444d; }
      .cloud { fill: #1f1a12; stroke: #6b4a1e; }
      .card { fill: #0d1117; stroke: #3d444d; }
      .chip { fill: #212830; }
      .text { fill: #f0f6fc; }
      .soft { fill: #9198a1; }
      .line { stroke: #9198a1; }
      .head { fill: #9198a1; }
      .entry, .load-balancer { fill: #db6d28; } .site, .zone-mark { fill: #d29922; } .app, .kubernetes { fill: #4493f8; }
      .database { fill: #3fb950; } .redis { fill: #f85149; } .monitoring { fill: #ab7df8; } .storage { fill: #d29922; }
    }
"""

_MARGIN = 24
_GAP = 36
_PADDING = 16
_CARD_GAP = 12
_HEADER = 40
_CARD_HEADER = 32
_CHIP_HEIGHT = 40
_CHIP_GAP = 8
_CHIP_WIDTH = 152
_WIDEST_CHIP = 264
_REGION_WIDTH = 3 * (_CHIP_WIDTH + 2 * _PADDING - 8) + 2 * _CARD_GAP + 2 * _PADDING
_LETTER_WIDTH = 7.2
"""Mean width of a letter at 13 pixels; names that need more room than there is are cut, and whole in the tooltip."""


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


class _Picture:
    """Places the groups from top to bottom: visitors, the edge, the regions side by side, object storage."""

    def __init__(self, found: Topology) -> None:
        self._found = found
        self._shapes: list[str] = []
        self._arrows: list[str] = []
        self._boxes: dict[str, _Box] = {}
        self._regions_top = 0.0
        columns = max(1, min(len(found.regions), 3))
        self._width = columns * _REGION_WIDTH + (columns - 1) * _GAP + 2 * _MARGIN

    def draw(self) -> str:
        y = self._place_title()
        if self._found.edge:
            y = self._place_edge(y)
        self._regions_top = y
        bottom = self._place_regions(y)
        height = self._place_storage(bottom) if self._found.storage is not None else bottom
        self._draw_links(bottom)
        height += _MARGIN
        title, description = _xml(_title(self._found)), _xml(_description(self._found))
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{_number(self._width)}" height="{_number(height)}" '
                f'viewBox="0 0 {_number(self._width)} {_number(height)}" role="img" aria-labelledby="title description" '
                'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13">',
                f'  <title id="title">{title}</title>',
                f'  <desc id="description">{description}</desc>',
                f"  <style>{_STYLE}  </style>",
                f'  <rect class="page" x="0.5" y="0.5" width="{_number(self._width - 1)}" height="{_number(height - 1)}" rx="12"/>',
                *self._shapes,
                *self._arrows,
                "</svg>",
                "",
            ]
        )

    def _place_title(self) -> float:
        self._text(_MARGIN, _MARGIN + 16, self._found.stack, size=18, weight=600)
        return _MARGIN + 36

    def _place_edge(self, y: float) -> float:
        visitors = _Box(self._width / 2 - 56, y, 112, 32)
        self._rect(visitors, "card", radius=16)
        self._text(visitors.middle, visitors.y + 21, "Visitors", anchor="middle")
        inside = self._width - 2 * _MARGIN - 2 * _PADDING
        card_width = (inside - (len(self._found.edge) - 1) * _CARD_GAP) / len(self._found.edge)
        heights = [self._card_height(group, card_width) for group in self._found.edge]
        box = _Box(_MARGIN, visitors.bottom + _GAP, self._width - 2 * _MARGIN, _HEADER + max(heights) + _PADDING)
        self._rect(box, "cloud", radius=10)
        self._text(box.x + _PADDING, box.y + 26, "Cloudflare", weight=600, size=14)
        for index, group in enumerate(self._found.edge):
            self._card(group, _Box(box.x + _PADDING + index * (card_width + _CARD_GAP), box.y + _HEADER, card_width, max(heights)))
        self._arrow([(visitors.middle, visitors.bottom), (visitors.middle, box.y)])
        return box.bottom + _GAP + 12

    def _place_regions(self, y: float) -> float:
        bottom = y
        for start in range(0, len(self._found.regions), 3):
            row = self._found.regions[start : start + 3]
            height = max(self._region_height(region) for region in row)
            for index, region in enumerate(row):
                self._region(region, _Box(_MARGIN + index * (_REGION_WIDTH + _GAP), y, _REGION_WIDTH, height))
            bottom = y + height
            y = bottom + _GAP
        return bottom

    def _tiers(self, region: Region) -> list[list[Group]]:
        """Rows of cards: the way of a request downwards; stores and monitoring share the last row."""
        first = [[group] for role in ("load-balancer", "app", "kubernetes") if (group := region.group(role)) is not None]
        last = [group for role in ("database", "redis", "monitoring") if (group := region.group(role)) is not None]
        return [*first, *([last] if last else [])]

    def _row_cards(self, row: list[Group]) -> list[tuple[Group, float]]:
        inside = _REGION_WIDTH - 2 * _PADDING
        width = (inside - (len(row) - 1) * _CARD_GAP) / len(row)
        return [(group, width) for group in row]

    def _row_height(self, row: list[Group]) -> float:
        return max(self._card_height(group, width) for group, width in self._row_cards(row))

    def _region_height(self, region: Region) -> float:
        rows = self._tiers(region)
        return _HEADER + sum(self._row_height(row) for row in rows) + (len(rows) - 1) * _GAP + _PADDING

    def _region(self, region: Region, box: _Box) -> None:
        self._rect(box, "zone", radius=10)
        self._text(box.x + _PADDING, box.y + 26, _region_title(region), weight=600, size=14, room=box.width * 0.6)
        if region.network:
            self._text(box.x + box.width - _PADDING, box.y + 26, region.network, soft=True, anchor="end", size=12)
        y = box.y + _HEADER
        for row in self._tiers(region):
            x, height = box.x + _PADDING, self._row_height(row)
            for group, width in self._row_cards(row):
                self._card(group, _Box(x, y, width, height))
                x += width + _CARD_GAP
            y += height + _GAP

    def _place_storage(self, y: float) -> float:
        storage = self._found.storage
        if storage is None:
            return y
        width = self._width - 2 * _MARGIN
        box = _Box(_MARGIN, y + _GAP + 12, width, self._card_height(storage, width))
        self._card(storage, box, "cloud")
        return box.bottom

    def _columns(self, width: float) -> int:
        return max(1, int((width - 2 * _PADDING + 8 + _CHIP_GAP) // (_CHIP_WIDTH + _CHIP_GAP)))

    def _card_height(self, group: Group, width: float) -> float:
        rows = -(-len(_shown(group.members)) // self._columns(width))
        return _CARD_HEADER + rows * _CHIP_HEIGHT + (rows - 1) * _CHIP_GAP + 12

    def _card(self, group: Group, box: _Box, style: str = "card") -> None:
        self._boxes[group.key] = box
        self._rect(box, style, radius=8)
        mark = "zone-mark" if group.role == "zone" else group.role
        self._shapes.append(f'  <circle class="{mark}" cx="{_number(box.x + 18)}" cy="{_number(box.y + 17)}" r="4.5"/>')
        count = f" ({len(group.members)})" if len(group.members) > 1 else ""
        self._text(box.x + 29, box.y + 21.5, f"{group.title}{count}", weight=600, room=box.width - 40)
        columns = min(self._columns(box.width), len(group.members))
        width = min((box.width - 24 - (columns - 1) * _CHIP_GAP) / columns, _WIDEST_CHIP)
        for index, member in enumerate(_shown(group.members)):
            x = box.x + 12 + (index % columns) * (width + _CHIP_GAP)
            y = box.y + _CARD_HEADER + (index // columns) * (_CHIP_HEIGHT + _CHIP_GAP)
            self._chip(member, _Box(x, y, width, _CHIP_HEIGHT))

    def _chip(self, member: Member, box: _Box) -> None:
        self._shapes.append(f"  <g><title>{_xml(_member_text(member))}</title>")
        self._rect(box, "chip", radius=6)
        self._text(box.x + 10, box.y + (17 if member.detail else 24), member.name, room=box.width - 18)
        if member.detail:
            self._text(box.x + 10, box.y + 32, member.detail, soft=True, size=11, room=box.width - 18)
        self._shapes.append("  </g>")

    def _draw_links(self, regions_bottom: float) -> None:
        for link in self._found.links:
            source, target = self._boxes[link.source], self._boxes[link.target]
            if link.dashed:
                self._draw_behind(link, source, target, regions_bottom)
            else:
                self._draw_down(source, target)

    def _draw_down(self, source: _Box, target: _Box) -> None:
        """Straight down inside a region, from the wider card above; from the edge by way of the gap above the regions."""
        if source.y > self._regions_top:
            self._arrow([(target.middle, source.bottom), (target.middle, target.y)])
        else:
            turn = self._regions_top - (_GAP + 12) / 2
            self._arrow([(source.middle, source.bottom), (source.middle, turn), (target.middle, turn), (target.middle, target.y)])

    def _draw_behind(self, link: Link, source: _Box, target: _Box, regions_bottom: float) -> None:
        """Replication and backups run below the regions."""
        turn = regions_bottom + 20
        start = source.x + source.width / 4
        if target.y > regions_bottom:
            self._arrow([(start, source.bottom), (start, target.y)], dashed=True)
            self._text(start + 8, target.y - 10, link.label, soft=True, size=11)
            return
        start, end = source.middle, target.middle
        self._arrow([(start, source.bottom), (start, turn), (end, turn), (end, target.bottom)], dashed=True)
        self._text((start + end) / 2, turn - 6, link.label, soft=True, size=11, anchor="middle")

    def _arrow(self, points: list[tuple[float, float]], *, dashed: bool = False) -> None:
        (last_x, last_y), (_, before_y) = points[-1], points[-2]
        down = 1 if last_y > before_y else -1
        line = [*points[:-1], (last_x, last_y - down * 6)]
        path = "M" + " L".join(f"{_number(x)} {_number(y)}" for x, y in line)
        self._arrows.append(f'  <path class="line{" dashed" if dashed else ""}" d="{path}"/>')
        head = f"M{_number(last_x - 5)} {_number(last_y - down * 8)} L{_number(last_x + 5)} {_number(last_y - down * 8)}"
        self._arrows.append(f'  <path class="head" d="{head} L{_number(last_x)} {_number(last_y)} Z"/>')

    def _rect(self, box: _Box, style: str, *, radius: int) -> None:
        size = f'width="{_number(box.width)}" height="{_number(box.height)}"'
        self._shapes.append(f'  <rect class="{style}" x="{_number(box.x)}" y="{_number(box.y)}" {size} rx="{radius}"/>')

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: int = 13,
        weight: int = 400,
        soft: bool = False,
        anchor: str = "start",
        room: float = 0,
    ) -> None:
        if room:
            text = _cut(text, int(room / (_LETTER_WIDTH * size / 13)))
        bold = f' font-weight="{weight}"' if weight != 400 else ""
        sized = f' font-size="{size}"' if size != 13 else ""
        placed = f' text-anchor="{anchor}"' if anchor != "start" else ""
        style = "soft" if soft else "text"
        self._shapes.append(f'  <text class="{style}" x="{_number(x)}" y="{_number(y)}"{sized}{bold}{placed}>{_xml(text)}</text>')


def _cut(text: str, letters: int) -> str:
    """As much of the text as fits; wide characters take two places."""
    if sum(_places(character) for character in text) <= letters:
        return text
    return "".join(_fitting(text, letters - 1)) + "…"


def _fitting(text: str, letters: int) -> Iterator[str]:
    for character in text:
        letters -= _places(character)
        if letters < 0:
            return
        yield character


def _places(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _xml(text: str) -> str:
    return escape(_printable(text))
