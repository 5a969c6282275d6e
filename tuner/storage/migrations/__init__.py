"""The steps that build the tables of the study store; `tuner.storage.schema` runs them."""
