"""Every setting of a deployment, its default and its bounds, and the inequalities between the times among them.

Owns the lists of queues and providers too, whose order is final. Loads no provider.
"""
