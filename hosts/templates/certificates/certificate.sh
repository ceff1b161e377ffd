#!/bin/bash
# Gets the certificate of the public names, renews it, and hands it to nginx. Until the first one is there the stack's own takes its
# place; a failure leaves everything as it is, is tried again, and shows as a certificate that ends soon.
set -euo pipefail

tls={{ tls }}
issued=/etc/letsencrypt/live/site

# Points nginx at a certificate and its key. The key goes first: nginx reads both only when it is told to.
use() {
  ln --symbolic --force --no-dereference "$2" "$tls/site.key"
  ln --symbolic --force --no-dereference "$1" "$tls/site.crt"
}

case "${1:-}" in
  --bootstrap)
    if [[ -e "$issued/fullchain.pem" ]]; then
      use "$issued/fullchain.pem" "$issued/privkey.pem"
    else
      use "$tls/server.crt" "$tls/server.key"
    fi
    exit
    ;;
  --deploy)
    use "$issued/fullchain.pem" "$issued/privkey.pem"
    # Not there yet: it reads the new certificate when it starts.
    if systemctl --quiet is-active nginx; then systemctl reload nginx; fi
    exit
    ;;
esac

certbot certonly --quiet --non-interactive --agree-tos --register-unsafely-without-email \
  --server {{ acme_directory }} \
  --webroot --webroot-path {{ webroot }} \
  --cert-name site{% for name in hostnames %} --domain {{ name }}{% endfor %} \
  --key-type ecdsa --keep-until-expiring --renew-with-new-domains \
  --deploy-hook "/usr/local/sbin/rungway-certificate --deploy" ||
  echo "no certificate yet; the next attempt is within {{ minutes }} minutes"
