"""Five jobs from two users through the whole system on this machine: `python -m local.demo`."""
