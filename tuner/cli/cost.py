"""What a study is going to cost, in words, before it begins."""

from tuner.reporting.wording import duration
from tuner.search.forecast.cost import ExpectedCost, Shorter


def cost_words(cost: ExpectedCost) -> tuple[str, ...]:
    """Say what a study takes at most, and what would make it shorter."""
    words = (
        f"It takes {cost.trainings:,} trainings of up to {cost.epochs:,} epochs, "
        f"{cost.steps:,} gradient steps at most"
    )
    if cost.seconds is None:
        return (f"{words}.",)
    at_a_time = "" if cost.workers is None else f" with {cost.workers} at a time"
    told = (f"{words}: {duration(cost.seconds)}{at_a_time} if none stops early (--patience).",)
    if not cost.shorter:
        return told
    each = [
        f"--{one.option.replace('_', '-')} {_value(one)} ({duration(one.seconds)})"
        for one in cost.shorter
    ]
    return (*told, f"Shorter, and another question: {', '.join(each)}.")


def _value(one: Shorter) -> str:
    return f"{one.value // 60}m" if one.option == "time_budget" else str(one.value)
