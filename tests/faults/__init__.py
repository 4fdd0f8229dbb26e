"""Fault enumeration: one deployment simulated in this process, in which any I/O can fail.

plan              which I/O fails, and how
cutter            a server that breaks exchanges between the store's own HTTP client and a real store
process           one short-lived function: its I/O, its crash, its freezes
engines           the stores that run the real scripts, and a cheap snapshot of their data
store             a process's way to the store, with RestStore's own repeat
provider          predictions, their webhooks, and what the provider really did
files             the provider's files, and the bucket with their copies
endpoint          the owners' endpoint, which verifies each event
scenarios         who submits, polls and cancels what and when, and what the provider makes of it
outbox_scenarios  scenarios of files and events
clients           how each of these steps is done
patience          how many ticks may pass until all work is done
simulation        one run: the clock, the events in order, the invariants after every I/O
error_log         errors that shared/ logs and survives
"""
