"""Everything behind the functions, in rooms: packages and single modules whose import graph has no cycle.

DESIGN.md, "Rooms", says what each room owns and which rooms it may use.
"""
