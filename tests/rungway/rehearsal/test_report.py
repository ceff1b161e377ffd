"""A rehearsal's findings, for people and for programs."""

import json

import pytest

from rungway.rehearsal.report import Check, check_text, report_json, skipped, summary

OK = Check("restore", True, 12.5, "s")
FAILED = Check("failed units on app-eu-1", False, 2, "units", "nginx.service, redis.service")
SKIPPED = skipped("WireGuard", "this kernel can't")


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (OK, "ok      restore  12.5 s"),
        (FAILED, "FAILED  failed units on app-eu-1  2 units  nginx.service, redis.service"),
        (SKIPPED, "skipped WireGuard  this kernel can't"),
        (Check("rows", True, 0), "ok      rows  0"),
        (Check("sshd", True), "ok      sshd"),
    ],
)
def test_a_check_is_one_line(check: Check, line: str) -> None:
    assert check_text(check) == line


def test_the_summary_counts_each_kind() -> None:
    assert summary([OK, OK, FAILED, SKIPPED]) == "2 ok, 1 failed, 1 skipped"
    assert summary([]) == "0 ok, 0 failed, 0 skipped"


def test_programs_get_every_check() -> None:
    report = json.loads(json.dumps(report_json("phase2", 61.234, [OK, FAILED, SKIPPED])))

    assert report == {
        "stack": "phase2",
        "ok": False,
        "seconds": 61.2,
        "checks": [
            {"name": "restore", "ok": True, "figure": 12.5, "unit": "s", "note": ""},
            {"name": "failed units on app-eu-1", "ok": False, "figure": 2, "unit": "units", "note": "nginx.service, redis.service"},
            {"name": "WireGuard", "ok": None, "figure": None, "unit": "", "note": "this kernel can't"},
        ],
    }


def test_what_was_skipped_fails_nothing() -> None:
    assert report_json("mvp", 1.0, [OK, SKIPPED])["ok"] is True
