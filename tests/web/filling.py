"""A form as a browser has it: what is in it, filled in and sent with the button that was pressed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

from tests.web.harness import ADMIN, Answer, Web, form_token


@dataclass
class Form:
    """One form: where it goes, what stands in it, and its buttons by their values."""

    action: str = ""
    values: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)

    def filled(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return what would be sent; "" unticks a box."""
        return self.values | dict(values)


class _Forms(HTMLParser):
    """Reads every form of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._area: str | None = None
        self._select: str | None = None
        self._options: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(action=given["action"]))
        if not self.forms:
            return
        form, name = self.forms[-1], given.get("name", "")
        if tag == "input" and name:
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                form.values[name] = given.get("value", "on")
        elif tag == "textarea":
            self._area = name
            form.values[name] = ""
        elif tag == "select":
            self._select, self._options = name, []
        elif tag == "option" and self._select is not None:
            self._options.append((given.get("value", ""), "selected" in given))
        elif tag == "button" and name:
            form.buttons.append(given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            text = self.forms[-1].values[self._area or ""]
            self.forms[-1].values[self._area or ""] = text.removeprefix("\n")
            self._area = None
        elif tag == "select" and self._select is not None:
            chosen = [value for value, selected in self._options if selected] or [one for one, _ in self._options]
            self.forms[-1].values[self._select] = chosen[0] if chosen else ""
            self._select = None

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self.forms[-1].values[self._area] += data


def forms_of(text: str) -> list[Form]:
    """Return the forms of a page, in order."""
    reader = _Forms()
    reader.feed(text)
    reader.close()
    return reader.forms


def sheet_of(answer: Answer) -> Form:
    """Return the set-up page's form."""
    return next(form for form in forms_of(answer.text) if "kept" in form.values)


async def sign_in(web: Web) -> None:
    page = await web.get("/sign-in")
    answer = await web.request("POST", "/sign-in", data={"form_token": form_token(page), "token": ADMIN})
    assert answer.status == 303


async def press(web: Web, answer: Answer, action: str, **how: str) -> Answer:
    """Send the form of a set-up page with a button; `how` fills in, with `__` for a dot."""
    return await press_with(web, answer, action, {name.replace("__", "."): value for name, value in how.items()})


async def press_with(web: Web, answer: Answer, action: str, values: Mapping[str, str]) -> Answer:
    """The same, with the inputs by their own names."""
    form = sheet_of(answer)
    return await web.request("POST", form.action, data=form.filled(values) | {"action": action})
