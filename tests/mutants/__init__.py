"""Deliberate bugs, each with the tests that must notice it.

python -m tests.mutants            all, a line each; exit code 1 if one survives or can no longer be made
python -m tests.mutants claim      those with 'claim' in their name
python -m tests.mutants.swaps      each two arguments of each verb swapped; see swaps.py
"""
