"""The tests; they mirror the package.

No property test fails because the machine is slow: hypothesis watches no clock here.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
