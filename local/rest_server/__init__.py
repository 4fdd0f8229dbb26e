"""Serves Upstash's Redis REST API in front of a real Valkey or Redis on this machine.

The wire format (paths, bodies, encodings, error objects, status codes) follows Upstash's REST API page. So production's
client, Lua and error handling run here unchanged. Three things are added for tests and benches: a bill that counts the
commands that Upstash would charge, named faults that break one answer on purpose, and `running_server`, which runs all
of it inside the calling process.

    python -m local.rest_server --port 8079 --token T --data-dir .sluice/store
"""
