"""The soak: the real system as processes, users who behave as users do, and somebody who breaks things all the while.

    python -m tests.soak [--seconds 600] [--seed N] [--jobs-per-second X] [--instances 4]

    users, tickers ──▶ front door ──▶ N instances of the functions ──▶ store (Upstash's REST API, over Valkey)
                           ▲          (killed, frozen, started again)   (answers lost, delayed, refused)
                       webhooks           └── create, ask, list ──▶ provider's door ──▶ provider (simulated)
                                                                    (every call takes its time)

It prints its seed first, and ends with a report in the words of Jepsen's queue checker. The seed fixes the workload and
what the nemesis intends; how the processes interleave, nobody can fix. The exit status is 0 if the run was valid: no
job lost, none unexpected, none duplicated, no limit exceeded, all ended within a computed time, nothing left in the
store, and each way out of a lost submission (adoption, rescue, resubmission) was taken at least once.

Killed instances start again from the files as they are then: a run while somebody edits them proves nothing.
"""
