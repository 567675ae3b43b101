"""The long run's picture: well-formed, each trouble in its place, what failed on top of what was answered."""

from xml.etree.ElementTree import fromstring

from benchmarks.timeline import timeline

SVG = "{http://www.w3.org/2000/svg}"
FIGURES = {
    "requests": 12,
    "refreshes": 3,
    "findings": [],
    "by_second": {
        "answered": [[2] * 60, [2] * 60, [2] * 30 + [0] * 30],
        "failed": [[0] * 60, [0] * 60, [0] * 30 + [2] * 30],
    },
    "troubles": [
        {"kind": "killed", "replica": 2, "began": 30.0, "ended": 60.0},
        {"kind": "database cut off", "replica": -1, "began": 0.0, "ended": 30.0},
    ],
}


def test_a_picture_of_three_replicas_and_two_troubles():
    drawn = fromstring(timeline(FIGURES))
    assert [text.text for text in drawn.iter(f"{SVG}text")][1:6] == [
        "replica 0", "replica 1", "replica 2", "killed", "database cut off"
    ]  # fmt: skip
    bars = [(bar.get("x"), bar.get("width"), bar.find(f"{SVG}title").text) for bar in drawn.iter(f"{SVG}rect")]
    assert bars == [
        ("549.0", "399.0", "killed, replica 2, 30 to 60 s"),
        ("150.0", "399.0", "database cut off, all, 0 to 30 s"),
    ]


def test_what_failed_stands_on_what_was_answered():
    drawn = fromstring(timeline(FIGURES))
    paths = {
        kind: [path.get("d") for path in drawn.iter(f"{SVG}path") if path.get("class") == kind]
        for kind in ("good", "bad")
    }
    assert paths["bad"][0] == paths["good"][0], "nothing failed at the first"
    assert paths["bad"][2] != paths["good"][2]
    assert paths["bad"][2].count("V265.0") == 60, "as high as ever, to the end"
    assert paths["good"][2].count("V265.0") == 30
