"""The methods of growth: each proposes candidates with scores, a ``GrowthPlan``, and changes nothing."""
