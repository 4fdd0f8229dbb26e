"""How a request is read: who calls, and a body within its limits that is strict JSON."""
