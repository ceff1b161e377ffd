"""Advice: stay, tune or climb, from figures; no verdict without them. With a real Prometheus too."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import requests

from rungway.advise import (
    NO_DATA,
    Advice,
    Query,
    Reason,
    Step,
    Verdict,
    advice_json,
    advice_text,
    advise,
    advise_stack,
    next_stack,
    prometheus,
)
from rungway.errors import RungwayError
from rungway.model import Money
from rungway.servers import settings_of_stack
from rungway.stacks import find_stack
from tests.rungway.test_ladder import LADDERS
from tests.support.debian_root import DebianRoot

CPU, MEMORY = 'server:cpu_used:percent{role="app"}', 'server:memory_used:percent{role="app"}'
P95, CONNECTIONS = "region:response_time:p95_ms", "server:postgresql_connections:percent"


@dataclass(frozen=True)
class _Figure:
    """What Prometheus would tell of one figure over 7 days: how many days are known, and for how much of them its limit was passed."""

    share_percent: float = 0
    days: float = 7
    current: bool = True


def _answers(figures: Mapping[str, _Figure], usual: _Figure | None) -> Query:
    def query(expression: str) -> float | None:
        figure = next((figure for name, figure in figures.items() if name in expression), usual)
        if figure is None:
            return None
        known = figure.days * 288
        if expression.startswith("max(count_over_time"):
            return known
        if expression.startswith("count("):
            return 1 if figure.current else None
        if "sum_over_time" in expression:
            return known * figure.share_percent / 100
        return 1_795_000_000 if "timestamp" in expression else 97

    return query


def _advise(root: Path, figures: Mapping[str, _Figure], usual: _Figure | None = _Figure(), stack: str = "phase2") -> Advice:
    return advise(settings_of_stack(find_stack(stack, root)), stack, _answers(figures, usual))


def test_a_phase_with_room_stays(in_project: Path) -> None:
    advice = _advise(in_project, {})

    assert (advice.verdict, advice.reasons, advice.missing, advice.exit_code) == (Verdict.STAY, (), (), 0)


def test_one_limit_that_was_passed_is_tuned(in_project: Path) -> None:
    advice = _advise(in_project, {CPU: _Figure(share_percent=30)})

    assert advice.verdict is Verdict.TUNE
    (reason,) = advice.reasons
    assert (reason.what, reason.found, reason.limit, round(reason.share_percent)) == ("CPU of app servers", 97, 70, 30)
    assert "more workers, or a larger server than cx33 (rungway:app.server_type)" in reason.action


def test_a_busy_hour_is_no_reason(in_project: Path) -> None:
    assert _advise(in_project, {CPU: _Figure(share_percent=24)}).verdict is Verdict.STAY


def test_memory_is_outgrown_later_than_it_warns(in_project: Path) -> None:
    (reason,) = _advise(in_project, {MEMORY: _Figure(share_percent=90)}).reasons

    assert reason.limit == 85


def test_two_limits_at_once_call_for_the_next_phase(in_project: Path) -> None:
    advice = _advise(in_project, {P95: _Figure(share_percent=50), CONNECTIONS: _Figure(share_percent=50)})

    assert advice.verdict is Verdict.CLIMB
    assert [reason.what for reason in advice.reasons] == ["response time (95th percentile)", "connections of PostgreSQL"]


def test_a_target_that_is_passed_at_peaks_calls_for_the_next_phase(in_project: Path) -> None:
    advice = _advise(in_project, {"rungway_concurrent_users": _Figure(share_percent=2)})

    assert advice.verdict is Verdict.CLIMB
    assert advice.reasons[0].limit == 1000


@pytest.mark.parametrize(
    "figure",
    [_Figure(days=0), _Figure(days=3.4), _Figure(current=False)],
    ids=["none", "less than half of the week", "none of today"],
)
def test_a_figure_that_is_not_known_is_no_good_news(in_project: Path, figure: _Figure) -> None:
    advice = _advise(in_project, {CPU: figure})

    assert (advice.verdict, advice.exit_code) == (Verdict.NO_DATA, NO_DATA)
    assert advice.missing == (f"CPU of app servers ({figure.days:.1f} of 7 days, up to now)",)


def test_an_empty_prometheus_gives_no_verdict(in_project: Path) -> None:
    advice = _advise(in_project, {}, usual=None)

    assert advice.verdict is Verdict.NO_DATA
    assert advice_text(advice).startswith("phase2: no verdict. Too little is known of the last 7 days.\n  not known: CPU of app servers")


def test_what_the_application_does_not_tell_is_said_and_holds_nothing_up(in_project: Path) -> None:
    advice = _advise(in_project, {"rungway_users": _Figure(days=0)})

    assert (advice.verdict, advice.missing) == (Verdict.STAY, ("registered users (0.0 of 7 days, up to now)",))


def test_what_was_passed_counts_even_when_other_figures_are_missing(in_project: Path) -> None:
    advice = _advise(in_project, {CPU: _Figure(share_percent=80), MEMORY: _Figure(days=0)})

    assert (advice.verdict, advice.missing) == (Verdict.TUNE, ("memory of app servers (0.0 of 7 days, up to now)",))


@pytest.mark.parametrize(("before", "after"), [step for ladder in LADDERS.values() for step in pairwise(ladder)])
def test_the_next_phase_is_the_next_of_the_same_ladder(before: str, after: str, in_project: Path) -> None:
    following = next_stack(find_stack(before, in_project))

    assert following is not None
    assert following.name == after


@pytest.mark.parametrize("last", [ladder[-1] for ladder in LADDERS.values()])
def test_after_the_last_phase_there_is_none(last: str, in_project: Path) -> None:
    assert next_stack(find_stack(last, in_project)) is None


def _climb(next_step: Step | None) -> Advice:
    reason = Reason("registered users", 6120.4, 5000, "users", 40, 1_795_000_000, "")
    return Advice("mvp", 7, Verdict.CLIMB, (reason,), (), next_step)


def test_the_text_says_why_since_when_to_where_and_for_how_much() -> None:
    step = Step("phase2", Money(Decimal("12.5"), "EUR"), Money(Decimal("80"), "EUR", ("a snapshot",)))

    assert advice_text(_climb(step)) == (
        "mvp: climb. The phase is outgrown.\n"
        "  registered users: 6120 users (95 % of the time no worse), limit 5000 users; passed 40 % of the time, "
        "first on 2026-11-18 11:06 UTC\n"
        "  next phase: phase2, 80.00 EUR + unknown a month instead of 12.50 EUR (+67.50 EUR)\n"
        "  rungway diff mvp phase2 shows what changes"
    )
    assert advice_text(_climb(None)).endswith("\n  there is no next phase in this ladder: write one, or take larger servers")


def test_programs_get_the_same_as_json() -> None:
    step = Step("phase2", Money(Decimal("12.5"), "EUR"), Money(Decimal("80"), "EUR", ("a snapshot",)))

    document = json.loads(json.dumps(advice_json(_climb(step))))

    assert document["verdict"] == "climb"
    assert document["reasons"][0]["since"] == "2026-11-18T11:06:40+00:00"
    assert document["next"] == {
        "stack": "phase2",
        "currency": "EUR",
        "cost_before": 12.5,
        "cost_after": 80.0,
        "unknown_prices": ["a snapshot"],
    }
    assert advice_json(Advice("mvp", 7, Verdict.NO_DATA))["next"] is None


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_where_no_prometheus_answers_is_said_with_the_way_there(in_project: Path) -> None:
    url = f"http://127.0.0.1:{_free_port()}"

    with pytest.raises(RungwayError, match=rf"^--prometheus '{url}': found no connection \(Connection refused\); allowed: ") as error:
        advise_stack("mvp", url)

    assert error.value.hint.startswith("ssh -N -L 9090:127.0.0.1:9090")


@pytest.mark.parametrize("url", ["", "prometheus", "127.0.0.1:9090", "ftp://127.0.0.1", "http://", "http://[::1", "http://127.0.0.1:99999"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(RungwayError, match=r"found no address of the form http://HOST:PORT; allowed: "):
        prometheus(url)("1")


def test_the_login_of_an_address_is_not_repeated() -> None:
    with pytest.raises(RungwayError) as error:
        prometheus(f"http://somebody:s3cr3t@127.0.0.1:{_free_port()}")("1")

    assert str(error.value).startswith("--prometheus 'http://127.0.0.1:")
    assert "s3cr3t" not in str(error.value)


@pytest.mark.parametrize(
    ("failure", "found"),
    [
        (requests.ReadTimeout(), "no answer within 30 s"),
        (requests.TooManyRedirects(), "redirects without an end"),
        (requests.exceptions.ChunkedEncodingError("cut"), "no connection"),
    ],
)
def test_what_went_wrong_on_the_way_is_said(monkeypatch: pytest.MonkeyPatch, failure: Exception, found: str) -> None:
    def fails(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(requests, "get", fails)
    with pytest.raises(RungwayError, match=f"^--prometheus 'http://a': found {found}; allowed: "):
        prometheus("http://a")("1")


VECTOR = '{"status": "success", "data": {"resultType": "vector", "result": %s}}'


@pytest.mark.parametrize(
    "body",
    [
        "<html>Grafana</html>",
        "[]",
        "null",
        "{}",
        '{"status": "error"}',
        '{"status": "success", "data": null}',
        VECTOR % '{"a": 1}',
        VECTOR % '[{"value": [1]}]',
        VECTOR % '[{"value": [1, "many"]}]',
        VECTOR % '[{"value": [1, null]}]',
    ],
)
def test_an_answer_of_something_else_is_said_with_its_status_and_type(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    answer = requests.Response()
    answer.status_code, answer._content = 500, body.encode()
    answer.headers["content-type"] = "text/html"
    monkeypatch.setattr(requests, "get", lambda *_, **__: answer)

    with pytest.raises(RungwayError, match=r"found an answer that is not Prometheus' \(status 500, text/html\); allowed: "):
        prometheus("http://a")("1")


def test_no_days_are_refused(in_project: Path) -> None:
    with pytest.raises(RungwayError, match=r"^--days: found 0; allowed: 1 or more$"):
        advise_stack("mvp", "http://127.0.0.1:9090", 0)


BUSY, CALM = 78.0, 20.0


@pytest.fixture(scope="module")
def prometheus_url(debian_root: DebianRoot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus with a week of figures: the application's CPU is busy for eight hours of each day, all else is calm."""
    folder = tmp_path_factory.mktemp("prometheus")
    now = int(time.time())
    metrics = {MEMORY: CALM, P95: 100.0, CONNECTIONS: CALM, "server:postgresql_cache_hits:percent": 99.0, CPU: CALM}
    metrics |= {f'server:{kind}_used:percent{{role="{role}"}}': CALM for kind in ("cpu", "memory") for role in ("database", "redis")}
    lines = []
    for series in sorted(metrics):
        for moment in range(now - 7 * 86_400, now + 1, 240):
            busy = series == CPU and (moment - now) % 86_400 < 8 * 3600
            lines.append(f"{series} {BUSY if busy else metrics[series]} {moment}")
    (folder / "metrics.txt").write_text("\n".join([*lines, "# EOF", ""]))
    (folder / "prometheus.yml").write_text("global: {}\n")
    port = _free_port()
    script = (
        "promtool tsdb create-blocks-from openmetrics /srv/metrics.txt /srv/data\n"
        "exec prometheus --config.file=/srv/prometheus.yml --storage.tsdb.path=/srv/data --storage.tsdb.retention.time=30d "
        f"--web.listen-address=127.0.0.1:{port}"
    )
    url = f"http://127.0.0.1:{port}"
    with debian_root.serving(folder, script) as process:
        _wait_until_ready(url, process)
        yield url


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{url}/-/ready", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    pytest.fail("Prometheus did not become ready")


def test_a_real_prometheus_has_its_busy_hours_found(prometheus_url: str, in_project: Path) -> None:
    advice = advise_stack("phase2", prometheus_url)

    assert advice.verdict is Verdict.TUNE
    (reason,) = advice.reasons
    assert (reason.what, reason.found) == ("CPU of app servers", BUSY)
    assert reason.share_percent == pytest.approx(100 / 3, abs=1)
    assert reason.since == pytest.approx(time.time() - 7 * 86_400, abs=900)
    assert advice.missing == ("registered users (0.0 of 7 days, up to now)", "users at the same time (0.0 of 7 days, up to now)")
    assert advice.next_step is not None
    assert advice.next_step.stack == "phase3"
    assert advice.next_step.cost_after.amount > advice.next_step.cost_before.amount


def test_a_week_is_not_enough_for_a_month(prometheus_url: str, in_project: Path) -> None:
    advice = advise_stack("phase2", prometheus_url, 30)

    assert "memory of app servers (7.0 of 30 days, up to now)" in advice.missing


def test_an_expression_that_prometheus_refuses_is_an_error(prometheus_url: str) -> None:
    with pytest.raises(RungwayError, match=r"found the answer '.*parse error.*' to max\("):
        prometheus(prometheus_url)("max(")
