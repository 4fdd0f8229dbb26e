"""The queue's verbs as plain Python, and the judge that compares every call of the real scripts with them.

deployment  what the scripts are told of a deployment, worked out again from its settings
state       what the store should hold, and the questions that several verbs ask of it
users       a user's seats, what an end sets off, circuits
verbs       one function a verb: what it does to the state, and the reply it should give; the longer ones are in
            enqueue, claim and attempts
outbox      who is told of what and whose files are stored, and the verbs that work at it
invariants  what must hold after every call, whatever the model says; owed says so of the outbox
judge       a store in memory mode that is compared with all of this at each EVAL; call and content read for it
driver      callers, providers and the end of every run, for the machine
machine     the rules that hypothesis draws; test_model runs them
strategies  the deployments it runs on, and what its rules draw from
test_found  what all this has found, each in as few steps as it takes

Batches are not modelled: batches holds what is told of them and their jobs against the invariants alone.
"""
