"""The soak: the real system as processes, with realistic users and a nemesis that breaks things all the time.

    python -m tests.soak [--seconds 600] [--seed N] [--jobs-per-second X] [--instances 4]
                         [--pollers 200] [--alone]

    users, tickers ──▶ front door ──▶ N instances of the functions ──▶ store (Upstash's REST API, over Valkey)
                           ▲          (killed, frozen, started again)   (answers lost, delayed, refused)
                       webhooks           └── create, ask, list ──▶ provider's door ──▶ provider (simulated)
                                                                    (every call takes its time)

It prints its seed first, and ends with a report in the words of Jepsen's queue checker. The seed fixes the workload and
the nemesis's intentions. It does not fix how the processes interleave.

Pollers in processes of their own watch the users' jobs, as ``Retry-After`` asks and with the ETag that they have. Times
are scaled down, so each of them polls every second. watching.py judges what they saw.

It runs twice, with the same innocent users and the same nemesis. Only in the second run are there guilty parties too
(guilty.py), and storms of 5xx at the provider's creates. The report compares how long the innocent users' jobs waited.
Times are those of the soak, in which margins are scaled down; on a busy machine they mean little.

The exit status is 0 if both runs were valid:

* No job is lost, unexpected or duplicated, and no limit is exceeded.
* All jobs end within a computed time, and nothing is left in the store.
* No poll shows another job, a state older than its view may be, an end too late, or a 5xx without a fault.
* Each way out of a lost submission (adoption, proof by two lists, rescue, resubmission) is taken at least once.

Killed instances start again from the current files, so a run during which files are edited proves nothing.
"""
