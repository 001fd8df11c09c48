"""A mailbox read by several filters at once: each one's verdict, whether it is right, and why.

Left out: the filters; what they said is given.
"""

from typing import TYPE_CHECKING, Any

import traitlets

from fmbook import plot
from fmbook.widgets.base import KEPT, BookWidget, drawable, module, plain, stylesheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MailReader"]


class MailReader(BookWidget):
    """Some mails, and what each filter of the book says about each of them.

    A mail is a dict: `subject`, `sender`, `excerpt`, `truth` ("spam" or "ham") and `verdicts`, a
    list of dicts `filter`, `verdict` ("spam" or "ham"), `reason`. All have met the same filters.

    Raises:
        ValueError: there is no mail, a verdict is neither "spam" nor "ham", or filters differ.

    >>> said = {"filter": "rules", "verdict": "spam", "reason": "it offers money"}
    >>> mail = {"subject": "Hi", "sender": "a@b.c", "excerpt": "...", "truth": "ham"}
    >>> MailReader([{**mail, "verdicts": [said]}], alt="One mail and one filter's wrong verdict.")
    MailReader(mails=1, filters=1)
    """

    _esm = module("mail")
    _css = stylesheet("mail", "hand")
    mails = traitlets.List(traitlets.Dict()).tag(**KEPT)
    mail = traitlets.Int(0).tag(**KEPT)

    def __init__(self, mails: list[dict[str, Any]], *, alt: str, **traits: Any) -> None:
        if not mails:
            raise ValueError("a reader needs at least one mail")
        checked = [_checked(mail) for mail in mails]
        filters = {tuple(said["filter"] for said in mail["verdicts"]) for mail in checked}
        if len(filters) != 1:
            raise ValueError(f"every mail must have met the same filters, got {sorted(filters)}")
        super().__init__(mails=checked, alt=alt, **traits)

    def __repr__(self) -> str:
        return f"MailReader(mails={len(self.mails)}, filters={len(self.mails[0]['verdicts'])})"

    def picture(self) -> "Axes":
        """Mails down, filters across, a verdict in each field; hollow where it is wrong."""
        filters = [said["filter"] for said in self.mails[0]["verdicts"]]
        ax: Axes = plot.axes(width=0.7, height=0.9 + 0.25 * len(self.mails))
        for row, mail in enumerate(self.mails):
            for column, said in enumerate(mail["verdicts"]):
                style = plot.look(said["verdict"]) | {"linestyle": "", "markersize": 8}
                inside = "full" if said["verdict"] == mail["truth"] else "none"
                ax.plot(column, row, fillstyle=inside, **style)
        subjects = [f"{drawable(mail['subject'], 32)} ({mail['truth']})" for mail in self.mails]
        ax.set_yticks(range(len(subjects)), subjects)
        ax.set_xticks(range(len(filters)), [drawable(name, 24) for name in filters])
        ax.set(xlim=(-0.5, len(filters) - 0.5), ylim=(len(subjects) - 0.5, -0.5))
        ax.figure.supxlabel("triangle: spam, circle: ham; hollow: wrong", fontsize="medium")
        ax.xaxis.tick_top()
        ax.grid(False)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        return ax


def _checked(mail: dict[str, Any]) -> dict[str, Any]:
    words = [mail["truth"], *(said["verdict"] for said in mail["verdicts"])]
    if not {*words} <= {"spam", "ham"}:
        raise ValueError(f"truth and verdicts are 'spam' or 'ham', got {words}")
    verdicts = [
        {key: plain(said[key]) for key in ("filter", "verdict", "reason")}
        for said in mail["verdicts"]
    ]
    texts = {key: plain(mail[key]) for key in ("subject", "sender", "excerpt", "truth")}
    return {**texts, "verdicts": verdicts}
