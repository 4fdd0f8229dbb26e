"""Fault enumeration: one deployment simulated in this process, in which any I/O can be made to go wrong.

plan          which I/O goes wrong, and how
process       one short-lived function: its I/O, its death, its freezing
engines       the stores that the real scripts run on, and a cheap look at all they hold
store         a process' way to the store, with RestStore's own repeat
provider      predictions, their webhooks, and what the provider really did
files         what the provider made, and the bucket where copies of it are kept
endpoint      owners, who verify what they are told
scenarios     who submits, polls and cancels what and when, and what the provider makes of it
following     the same of files and of telling
clients       how each of these steps is done
patience      how long it may take until nothing is left to be done
simulation    one run: the clock, the events in their order, the invariants after every I/O
"""
