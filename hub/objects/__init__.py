"""Files: one store of objects with several backends, links to them, and the signatures of Amazon's APIs."""
