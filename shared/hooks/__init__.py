"""Events for owners: what an event contains, who subscribes to it, its delivery, and the log of all tries."""
