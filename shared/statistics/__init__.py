"""What the deployment has done, by minute, by hour and of all time.

Scripts append an entry for each call that admits jobs and for each end (entries.lua); processes send what they counted
themselves (tally.py). A fold sums both (folding.py); Statistics reads the sums.
"""
