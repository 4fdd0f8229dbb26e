"""Numbers that the scripts and Python share. The loader puts those that a script uses in front of it.

Key names are in keys.py in the same way. A number that one script alone needs is in that script.
"""

from shared.config.providers import MAX_PROVIDERS
from shared.config.queues import MAX_QUEUES
from shared.signing import shares

# The index: a score is a band times BAND plus a number; prelude.lua says what each band holds.
# All of these are final, and so are MAX_QUEUES and MAX_PROVIDERS: with another number, the jobs of a store in use
# would be in the wrong bands.
BAND = 20_000_000_000_000
PROVIDERS = MAX_PROVIDERS
READY = MAX_QUEUES * MAX_PROVIDERS  # as many as there can be lanes; a lane is a queue at a provider
DELAYED = 2 * READY
BACKLOG = DELAYED + 1
ALARMS = DELAYED + 2
HISTORY = DELAYED + 3
# Within the alarms, above every moment: shares of waiting jobs, then of jobs at a provider. A share is a number below
# WAITING_SHARES / 2: USERS_OF_KEY numbers for the users of each API key; see signing/shares.py.
WAITING_SHARES = 10_000_000_000_000
SLOT_SHARES = 15_000_000_000_000
USERS_OF_KEY = shares.USERS_OF_KEY

# A user's set: what its scores begin from; see users.lua.
SPECIAL = -3_000_000_000_000_000
LIMIT_SPAN = 10_000  # a user's own limit is lower; the score has the day above it
DAY = 86_400_000  # ms
SPENT = -2_000_000_000_000_000
SEATED = -1_000_000_000_000_000

# Gates; see room.lua. A circuit opens only while there are fewer than MAX_CIRCUITS gates of all kinds; at most 50
# others may come.
MAX_GATES = 114
MAX_HEAD = 256  # rows that a script reads at first of gates, slots and next jobs; below a limit of 140 slots it is all
MAX_CIRCUITS = 64
MAX_CIRCUIT_AGE = 3_600_000  # ms without a try, after which a tick removes a circuit's gate
# The first tag is above every score of the other policies: jobs that wait when `fair` is switched on go first.
FIRST_TAG = 10_000_000_000_000

GRANT = 10_000  # tag units; one grant to a user of weight 1

# The outbox
HOOK_LEASE = 30_000  # ms in which the caller that ended a job may deliver its event; see outbox/worker.py
FOLLOW_TTL = 604_800  # s; a job is kept longer than its events are tried, see GIVEN_UP_AFTER in hooks/delivery.py
LONG_OVERDUE = 43_200_000  # ms; rows of a failing host that have waited so long are handed out with the probe
FIRST_BACKOFF = 5000  # ms for which a host gets nothing after its first failure; doubled with each further one
MAX_BACKOFF = 900_000  # ms

SPENDING_KEPT_FOR = 8_640_000  # s; 100 days: longer than a job of the month lives, see spending.lua

# Statistics; see shared/statistics
MAX_UNSUMMED = 50_000  # entries of the stream, about 5 MB; a tick sums them each quarter of an hour at least

# Verification codes; see verification/scripts
CODE_LIFE = 600_000  # ms
CODE_TRIES = 5  # of one code, right or wrong
