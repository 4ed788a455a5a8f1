"""Statistics of a reader study: agreement, mixed model, intervals, tests, non-inferiority, preferences."""
