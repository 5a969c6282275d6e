"""How a data set is read: the options that `read`, `inspect` and a study's spec share."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Layout = Literal["nchw", "nhwc", "nhw"]
TaskChoice = Literal["auto", "classification", "regression"]

_LAYOUT = (
    "order of the axes of {}'s images: rows, channels, height, width; channels last; or no channels"
)
_SIZE = "HEIGHTxWIDTH that {}'s encoded images (PNG, JPEG) are resized to, such as 32x32"
_PIXELS = r"^[1-9]\d{0,3}x[1-9]\d{0,3}$"


def _unless(default: object) -> Callable[[Any], bool]:
    """For options that came later: a spec that leaves one alone keeps the id that it had."""
    return lambda value: bool(value == default)


class DataOptions(BaseModel):
    """Which arrays of a source are what, and how they are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    a: Annotated[str | None, Field(description="array of modality A, if it is not called a")] = None
    b: Annotated[str | None, Field(description="array of modality B, if it is not called b")] = None
    y: Annotated[str | None, Field(description="array of labels, if it is not called y")] = None
    split: Annotated[
        str | None,
        Field(
            description="array of splits, if it is not called split: 0 or train, 1 or validation, "
            "2 or test; none to have a split made",
            exclude_if=_unless(None),
        ),
    ] = None
    group: Annotated[
        str | None,
        Field(
            description="array that tells which rows belong together, if it is not called group",
            exclude_if=_unless(None),
        ),
    ] = None
    a_mask: Annotated[
        str | None,
        Field(
            description="array of A's real steps, (rows, time), if it is not A's name and _mask",
            exclude_if=_unless(None),
        ),
    ] = None
    b_mask: Annotated[
        str | None,
        Field(
            description="array of B's real steps, (rows, time), if it is not B's name and _mask",
            exclude_if=_unless(None),
        ),
    ] = None
    a_lengths: Annotated[
        str | None,
        Field(
            description="array of the number of A's real steps, (rows,), in place of a mask",
            exclude_if=_unless(None),
        ),
    ] = None
    b_lengths: Annotated[
        str | None,
        Field(
            description="array of the number of B's real steps, (rows,), in place of a mask",
            exclude_if=_unless(None),
        ),
    ] = None
    keep_copies_apart: Annotated[
        bool,
        Field(
            description="treat rows that repeat A or B of others as rows of their own, which a "
            "split made here may tear apart",
            exclude_if=_unless(False),
        ),
    ] = False
    a_layout: Annotated[
        Layout, Field(description=_LAYOUT.format("A"), exclude_if=_unless("nchw"))
    ] = "nchw"
    b_layout: Annotated[
        Layout, Field(description=_LAYOUT.format("B"), exclude_if=_unless("nchw"))
    ] = "nchw"
    a_size: Annotated[
        str | None,
        Field(description=_SIZE.format("A"), pattern=_PIXELS, exclude_if=_unless(None)),
    ] = None
    b_size: Annotated[
        str | None,
        Field(description=_SIZE.format("B"), pattern=_PIXELS, exclude_if=_unless(None)),
    ] = None
    name: Annotated[
        str | None,
        Field(description="name of the study and of its models, if not the data set's"),
    ] = None
    task: Annotated[TaskChoice, Field(description="what the label is")] = "auto"
    missing: Annotated[
        tuple[str, ...],
        Field(
            description="a label that stands for a missing one, in place of -1 and the empty text; "
            "none for neither",
            exclude_if=_unless(()),
        ),
    ] = ()

    def size(self, side: str) -> tuple[int, int] | None:
        """Height and width, in pixels, that images of modality "a" or "b" are resized to."""
        text = self.a_size if side == "a" else self.b_size
        if text is None:
            return None
        height, width = map(int, text.split("x"))
        return height, width

    def layout(self, side: str) -> Layout:
        """Order of the axes of images of modality "a" or "b"."""
        return self.a_layout if side == "a" else self.b_layout
