"""What stands for a provider's load balancer, tried with the real HAProxy."""

import pytest

from hosts.configuration import HostFile
from rungway.rehearsal.load_balancer import configuration
from tests.support.debian_root import DebianRoot

# Two servers that say their name and what a connection began with; the second one is ill.
SERVERS = """
cat >/srv/server.py <<'END'
import socketserver, sys
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        first = self.rfile.readline().split()[:2]
        status = b"503 Ill" if sys.argv[2] == "ill" else b"200 OK"
        self.wfile.write(b"HTTP/1.0 " + status + b"\\r\\n\\r\\n" + sys.argv[1].encode() + b" " + b" ".join(first))
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((sys.argv[1], 80), Answer).serve_forever()
END
python3 /srv/server.py 127.0.1.1 well & python3 /srv/server.py 127.0.1.2 ill &
sleep 1
sed -i 's/:::80/127.0.0.1:80/' /srv/balancer.cfg
haproxy -D -f /srv/balancer.cfg 2>/dev/null
sleep 2
for try in 1 2 3 4; do curl --silent http://127.0.0.1/; echo; done
"""


@pytest.mark.parametrize("algorithm", ["round_robin", "least_connections"])
def test_requests_reach_the_healthy_servers_alone_and_begin_with_who_asks(debian_root: DebianRoot, algorithm: str) -> None:
    text = configuration({"well": "127.0.1.1", "ill": "127.0.1.2"}, algorithm=algorithm, health_check_path="/health")
    text = text.replace("inter 10s fall 3", "inter 200ms fall 1")

    answer = debian_root.try_script([HostFile(path="/srv/balancer.cfg", content=text)], SERVERS)

    assert answer.said.split("\n")[:4] == ["127.0.1.1 PROXY TCP4"] * 4
