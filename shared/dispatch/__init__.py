"""Moves jobs: starts them, applies the provider's reports to them, and repeats both in each tick."""
