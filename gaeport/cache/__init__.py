"""A cache shared by all instances: web2py's calls, memoised functions, whole pages; hot keys are created once."""

from gaeport.cache.cache import Cache
from gaeport.cache.statistics import Statistics

__all__ = ["Cache", "Statistics"]
