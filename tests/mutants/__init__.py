"""Deliberate bugs, each with the tests that must notice it: a proof that the tests would notice such a bug.

python -m tests.mutants            a table of all, exit code 1 if one survives or can no longer be made
python -m tests.mutants claim      those whose name contains 'claim'
python -m tests.mutants.swaps      each two arguments of each verb swapped; see swaps.py
"""
