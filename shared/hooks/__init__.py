"""Events and their owners: what an event contains, who subscribes to it, one delivery, and the log of all tries."""
