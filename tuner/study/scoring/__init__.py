"""From what trainings predict or report to scores of targets."""
