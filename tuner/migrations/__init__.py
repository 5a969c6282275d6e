"""The steps that build the tables of the study store; `tuner.schema` runs them."""
