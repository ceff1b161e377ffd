"""Reads what Hetzner's and DigitalOcean's APIs say of their prices and sizes. Read-only, and only what the price catalogue needs."""

import ipaddress
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from rungway.errors import RungwayError

_ATTEMPTS = 4
_TIMEOUT_SECONDS = (5, 30)
_LONGEST_WAIT_SECONDS = 30
_MOST_PAGES = 100


@dataclass(frozen=True)
class Api:
    """Where an API is and how one gets in: the environment variables for its address and its token."""

    title: str
    address: str
    address_variable: str
    token_variable: str


APIS: Mapping[str, Api] = {
    "hetzner": Api("Hetzner", "https://api.hetzner.cloud/v1", "HCLOUD_ENDPOINT", "HCLOUD_TOKEN"),
    "digitalocean": Api("DigitalOcean", "https://api.digitalocean.com", "DIGITALOCEAN_API_URL", "DIGITALOCEAN_TOKEN"),
}


class _Bearer(requests.auth.AuthBase):
    """Sends the token. Given as an object because requests prefers a .netrc entry to a header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Client:
    """GET requests to one provider's API, with bounded retries.

    `wait` sleeps between attempts; tests pass their own.
    """

    def __init__(self, provider: str, token_file: Path | None, wait: Callable[[float], None] = time.sleep) -> None:
        """Raises RungwayError for a missing or unreadable token, and for an address that would send it unencrypted."""
        self._api = APIS[provider]
        self._address = _address(self._api)
        self._auth = _Bearer(_token(self._api, token_file))
        self._wait = wait

    def get(self, path: str, **parameters: str | int) -> dict[str, Any]:
        """The JSON object at `path`.

        Busy (429) and failing (5xx) servers, broken connections and truncated answers are tried again, a little later each time.

        Raises:
            RungwayError: what the API refused, or what went wrong at the last attempt.
        """
        url = f"{self._address}{path}"
        for attempt in range(1, _ATTEMPTS + 1):
            wait_seconds = float(2 ** (attempt - 1))
            try:
                # A redirect could carry the token elsewhere; the APIs have none.
                response = requests.get(url, params=parameters, auth=self._auth, timeout=_TIMEOUT_SECONDS, allow_redirects=False)
            except requests.exceptions.SSLError as error:
                raise self._failure(url, "the connection is not trusted") from error
            except requests.exceptions.Timeout:
                problem = f"no answer within {_TIMEOUT_SECONDS[1]} seconds"
            except requests.exceptions.ConnectionError:
                problem = "can't connect"
            except requests.exceptions.RequestException:
                problem = "the answer broke off"
            else:
                if response.status_code == 200:
                    return self._object(url, response)
                problem = self._refused(url, response)
                wait_seconds = _asked_to_wait(response, wait_seconds)
            if attempt < _ATTEMPTS:
                self._wait(min(wait_seconds, _LONGEST_WAIT_SECONDS))
        raise self._failure(url, f"{problem}, {_ATTEMPTS} times over", "try again later")

    def pages(self, path: str, next_page: Callable[[dict[str, Any]], Any], **parameters: str | int) -> Iterator[dict[str, Any]]:
        """The pages of the list at `path`; `next_page` tells from one page whether another one follows."""
        for page in range(1, _MOST_PAGES + 1):
            answer = self.get(path, page=page, **parameters)
            yield answer
            if not next_page(answer):
                return
        raise self._failure(f"{self._address}{path}", f"more than {_MOST_PAGES} pages")

    def _object(self, url: str, response: requests.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError as error:
            raise self._failure(url, "the answer is not valid JSON") from error
        if not isinstance(answer, dict):
            raise self._failure(url, "the answer is not a JSON object")
        return answer

    def _refused(self, url: str, response: requests.Response) -> str:
        """What is worth another attempt; everything else is raised."""
        status = response.status_code
        if status == 401:
            raise self._failure(url, "401: the token is not accepted", f"put a valid token in {self._api.token_variable} or --token-file")
        if status == 403:
            raise self._failure(url, "403: the token may not read this", "make a token with read permission")
        if status == 429:
            return "429: too many requests"
        if status >= 500:
            return f"{status}: the API has a problem"
        raise self._failure(url, f"{status}: unexpected answer")

    def _failure(self, url: str, problem: str, hint: str = "") -> RungwayError:
        return RungwayError(f"{self._api.title} API: {url}: {problem}", hint=hint)


def _asked_to_wait(response: requests.Response, otherwise: float) -> float:
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() else otherwise


def _address(api: Api) -> str:
    address = os.environ.get(api.address_variable, "").strip().rstrip("/") or api.address
    parts = urlsplit(address)
    if parts.scheme == "https" and parts.hostname:
        return address
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return address
    raise RungwayError(
        f"{api.address_variable}: found '{address}'; allowed: an https address, or http on this machine's loopback interface",
        hint="the token would travel unencrypted",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(api: Api, token_file: Path | None) -> str:
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise RungwayError(f"{token_file}: can't read the token: {reason}") from error
        where = str(token_file)
    else:
        token, where = os.environ.get(api.token_variable, "").strip(), api.token_variable
    if not token:
        raise RungwayError(
            f"{where}: found no token", hint=f"put a read-only {api.title} token in {api.token_variable}, or name a --token-file"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise RungwayError(f"{where}: found something that is no token: it has spaces, line breaks or characters that no token has")
    return token
