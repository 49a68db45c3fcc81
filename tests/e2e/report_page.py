"""report_page.py PAGE JSON [NAME]: the page is well-formed, needs nothing from outside and holds the report's layers."""
import html.parser
import json
import sys

VOID = {"meta", "input"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.scripts, self.kinds, self.count = [], [], [], {}

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.count[tag] = self.count.get(tag, 0) + 1
        assert not {"src", "href", "data", "action", "onload", "onerror", "onclick"} & attrs.keys(), (tag, attrs)
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "script":
            self.kinds.append(attrs.get("type"))
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (self.open, tag)
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data


text = open(sys.argv[1], encoding="utf-8").read()
report = json.load(open(sys.argv[2]))
page = Page()
page.feed(text)
page.close()
assert page.open == [], page.open
assert page.kinds == ["application/json", None], page.kinds
assert page.count["html"] == page.count["head"] == page.count["body"] == page.count["title"] == 1, page.count
assert "default-src 'none'" in text and "prefers-color-scheme: dark" in text
for reference in ("@import", "url(", "fetch(", "innerHTML", "document.write", "http:"):
    assert reference not in text.replace("http://www.w3.org/2000/svg", ""), reference
plotted = json.loads(page.scripts[0])
assert [l["name"] for l in plotted["layers"]] == [l["name"] for l in report["layers"]]
assert all(len(l["histogram"]) == 64 and "highest_level" in l for l in plotted["layers"] if l["op"] == "Conv")
assert plotted["stages"] and plotted["gate"] and "tensors" not in plotted
if len(sys.argv) > 3:
    assert any(sys.argv[3] in l["name"] for l in plotted["layers"]), [l["name"] for l in plotted["layers"]]
