"""The queue's verbs as plain Python, and the judge that compares every call of the real scripts with them.

deployment  what the scripts get of a deployment, worked out again from its settings
state       the expected content of the store, and questions that several verbs ask of it
users       a user's seats, the effects of an end, circuits
verbs       one function a verb: what it does to the state, and the reply it should give; the longer ones are in
            enqueue, claim and attempts
outbox      events to deliver and files to store, and the verbs that work on them
invariants  what must hold after every call, independent of the model; outbox_invariants for the outbox
judge       a store in memory mode that is compared with all of this at each EVAL; call and content read for it
driver      callers, providers and the end of every run, for the machine
machine     the rules that hypothesis draws; test_model runs them
strategies  the deployments it runs on, and what its rules draw from
test_found  the bugs that all this has found, each in as few steps as possible

Batches are not modelled: batches checks their events and their jobs against the invariants alone.
"""
