"""The journal stays on the disk, and stays small."""

import pytest

from hosts.services.journal import journal
from tests.support.minimal_host import minimal_host


@pytest.mark.parametrize(("disk_gb", "size"), [(20, "1000M"), (40, "2000M"), (640, "2048M")])
def test_the_journal_has_a_share_of_the_disk_and_an_upper_limit(disk_gb: int, size: str) -> None:
    assert f"\nSystemMaxUse={size}\n" in journal(minimal_host(disk_gb=disk_gb)).files[0].content


def test_people_are_forgotten_after_a_month_to_the_day() -> None:
    text = journal(minimal_host()).files[0].content
    assert "\nMaxRetentionSec=30day\n" in text
    assert "\nMaxFileSec=1day\n" in text
    assert "\nStorage=persistent\n" in text
