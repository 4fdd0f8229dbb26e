"""What a deployment counts of its own work."""

from shared.config.environment import EnvironmentSettings


class StatisticsSettings(EnvironmentSettings):
    """Statistics cost two commands for each job, so a deployment asks for them."""

    statistics: bool = False
