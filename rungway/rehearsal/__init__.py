"""Rehearses a phase on this machine: boots every server of it with its real services, and tries what can go wrong.

Each server is a Debian 13 root of its own in `systemd-nspawn`, with its own network namespace, volume and cgroup. Nothing of it can reach
a network outside the rehearsal, and everything is gone afterwards.
"""
