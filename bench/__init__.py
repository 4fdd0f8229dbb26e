"""The measurements that docs/costs.md quotes: ratios within one run, so that they mean the same on every machine."""
