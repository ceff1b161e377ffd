"""Addresses at which a browser may put one file straight into object storage (AWS Signature Version 4 in the query)."""

import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote, urlsplit


def presigned_url(method: str, url: str, *, key_id: str, key_secret: str, region: str, now: datetime, valid_seconds: int) -> str:
    """`url` with a signature: for `valid_seconds` from `now` (UTC) on, anybody who has it may do `method` there."""
    address = urlsplit(url)
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    parameters = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(valid_seconds),
        "X-Amz-SignedHeaders": "host",
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(parameters.items()))
    request = "\n".join((method, quote(address.path), query, f"host:{address.netloc}\n", "host", "UNSIGNED-PAYLOAD"))
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{key_secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return f"{address.scheme}://{address.netloc}{quote(address.path)}?{query}&X-Amz-Signature={signature}"
