"""The status page in a headless Chromium: page.py QUANTD SOURCE WORK. TAP."""
import functools
import http.client
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

from browser import Browser
from keep import keep
from tap import Tap

QUANTD, SOURCE, WORK = map(os.path.abspath, sys.argv[1:4])
BUNDLED = os.path.join(SOURCE, "models", "fashion-mnist")
PICTURE = os.path.join(BUNDLED, "evaluation", "ankle-boot_00000.jpg")
HOSTILE = "<img src=x onerror=alert(1)>"
LABEL = "<script>alert(2)<" + "/script><b onclick=alert(3)>Boot</b>"
LAYER = "<" + "/table><i onload=alert(4)>"
TOKEN = "a-token-of-this-test-and-no-other"
tap = Tap()


def make_repository(folder):
    """The bundled model; one whose names mean harm and whose gate nothing passes; one that is broken."""
    os.makedirs(folder)
    os.symlink(BUNDLED, os.path.join(folder, "fashion-mnist"))
    hostile = os.path.join(folder, HOSTILE)
    os.makedirs(os.path.join(hostile, "1"))
    for name in ("calibration", "evaluation"):
        os.symlink(os.path.join(BUNDLED, name), os.path.join(hostile, name))
    with open(os.path.join(BUNDLED, "model.json"), encoding="utf-8") as file:
        model = json.load(file)
    model["calibration"] = {"images": "calibration", "method": "minmax", "max_images": 60}
    model["gate"] = {"min_sqnr_db": 90}
    model.pop("evaluation", None)
    with open(os.path.join(hostile, "model.json"), "w", encoding="utf-8") as file:
        json.dump(model, file)
    with open(os.path.join(BUNDLED, "labels.txt"), encoding="utf-8") as file:
        labels = file.read().splitlines()
    labels[9] = LABEL
    with open(os.path.join(hostile, "labels.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(labels) + "\n")
    subprocess.run([sys.executable, os.path.join(SOURCE, "tests", "e2e", "rename_node.py"), os.path.join(BUNDLED, "1", "model.onnx"),
                    os.path.join(hostile, "1", "model.onnx"), "/net/features/features.11/Conv", LAYER], check=True)
    os.makedirs(os.path.join(folder, "broken", "1"))
    with open(os.path.join(folder, "broken", "1", "model.onnx"), "wb") as file:
        file.write(b"x")


class Daemon:
    def __init__(self, *options, port=0, models=os.path.join(WORK, "models")):
        self.log = open(os.path.join(WORK, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen([QUANTD, "--listen", "127.0.0.1:%d" % port, "--models", models, "--cache",
                                         os.path.join(WORK, "cache"), *options], stdout=self.log, stderr=self.log)
        text = ""
        for _ in range(6000):
            with open(self.log.name, encoding="utf-8") as file:
                text = file.read()
            if "models loaded" in text or self.process.poll() is not None:
                break
            time.sleep(0.05)
        found = re.search(r"listens on port (\d+)", text)
        if not found or "models loaded" not in text:
            sys.exit("# the daemon did not start: %s" % text)
        self.port = int(found.group(1))
        self.url = "http://127.0.0.1:%d/" % self.port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)
        self.log.close()

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        body = answer.read()
        keep(answer.status, method, path, answer.headers, body)
        connection.close()
        return answer.status, answer.headers, body


def check_headers(daemon):
    status, headers, body = daemon.ask("GET", "/")
    policy = headers["Content-Security-Policy"] or ""
    tap.check("GET /: a page", status == 200 and headers["Content-Type"] == "text/html; charset=utf-8", (status, headers))
    tap.check("  nothing from outside, no frames, scripts by their hash",
              all(part in policy for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'",
                                              "script-src 'sha256-")) and "unsafe" not in policy, policy)
    tap.check("  nosniff, kept only after asking", headers["X-Content-Type-Options"] == "nosniff" and
              headers["Cache-Control"] == "no-cache", headers)
    text = body.decode("ascii").replace("http://www.w3.org/2000/svg", "")
    tap.check("  no address in it", "http:" not in text and "https:" not in text and "url(" not in text)
    tap.check("  markup is never made of text", not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text))
    head = daemon.ask("HEAD", "/")
    tap.check("HEAD /: the same without the page", head[0] == 200 and not head[2] and head[1]["Content-Length"] == str(len(body)))
    again = daemon.ask("GET", "/", If_None_Match=headers["ETag"])
    tap.check("If-None-Match: 304", again[0] == 304 and not again[2] and again[1]["ETag"] == headers["ETag"], again)
    tap.check("  another one: 200", daemon.ask("GET", "/", If_None_Match='"x"')[0] == 200)
    packed = daemon.ask("GET", "/", Accept_Encoding="gzip")
    tap.check("gzip", packed[1]["Content-Encoding"] == "gzip" and len(packed[2]) < len(body) / 2)


def text_of(browser, selector):
    return browser.run("(document.querySelector(%s) || {}).textContent || ''" % json.dumps(selector))


CARD = "[...document.querySelectorAll('.model')].find(c => c.querySelector('h3').textContent === %s)"


def card(name):
    return CARD % json.dumps(name)


def button(name, text):
    """Presses a button of a model's that can be pressed: an expression."""
    return ("(b => b && !b.disabled && (b.click(), true))([...%s.querySelectorAll('button')].find(b => b.textContent.startsWith(%s)))"
            % (card(name), json.dumps(text)))


def press(browser, name, text):
    """One that opens the dialog."""
    return browser.wait(button(name, text) + " && document.getElementById('dialog').open")


def layers_with(browser, name, title, seconds):
    return browser.wait("[...%s.querySelectorAll('tbody th')].some(t => t.title.startsWith(%s))" % (card(name), json.dumps(title)),
                        seconds)


def confirm(browser, **fields):
    for name, value in fields.items():
        browser.run("document.getElementById(%s).value = %s" % (json.dumps(name), json.dumps(value)))
    browser.run("document.getElementById('dialog-yes').click()")


def check_facts(browser):
    tap.check("it says that it is ready", browser.wait("document.getElementById('state').textContent === 'ready'"),
              text_of(browser, "#state"))
    text = browser.run(card("fashion-mnist") + ".textContent")
    tap.check("the bundled model with its accuracy", re.search(r"agreement99\.\d\d %", text) and
              re.search(r"output SQNR\d\d\.\d dB", text) and "gatepassed" in text and "by adlq" in text, text)
    tap.check("  its state, version and generation", "ready" in text and "version 1, generation 1" in text, text)
    server = text_of(browser, "header")
    tap.check("the server: version, kernels, time, memory, files",
              all(re.search(e, server) for e in (r"version \d", "kernels for ", r"up for\d", r"memory\d+ MiB", r"open files\d")),
              server)
    text = browser.run(card("broken") + ".textContent")
    tap.check("a model that failed, and why", "failed" in text and "not an ONNX" in text, text)
    text = browser.run("(n => !n.hidden && n.textContent)(document.getElementById('no-labels'))")
    tap.check("  what top-1 needs, where a model has none", text and "labelled pictures" in text and "evaluation_images" in text, text)
    text = browser.run(card(HOSTILE) + ".textContent")
    tap.check("a gate that failed, and why", "Gate failed: agreement with fp32 is" in text and "worst tensor" in text, text)


def check_picture(browser):
    browser.put_files("#file", PICTURE)
    browser.run("document.getElementById('try-model').value = 'fashion-mnist'")
    first = browser.wait("(document.querySelector('.classes li') || {}).textContent", 60) or ""
    browser.run("document.getElementById('try-model').dispatchEvent(new Event('change'))")
    first = browser.wait("(t => t && t.startsWith('Ankle') && t)((document.querySelector('.classes li') || {}).textContent)",
                         20) or first
    tap.check("a picture gives its class", re.match(r"Ankle boot \(class 9\)9\d\.\d %", first), first)
    answer = text_of(browser, "#answer")
    tap.check("  with times", re.search(r"queue .*s, decode .*s, compute .*s; there and back", answer), answer)
    tap.check("  and the traffic is seen",
              browser.wait("/requests[\\d.]+ .s[1-9]/.test(%s.textContent)" % card("fashion-mnist"), 60))
    bad = os.path.join(WORK, "bad.jpg")
    with open(bad, "wb") as file:
        file.write(b"GIF89a, not a JPEG")
    browser.put_files("#file", bad)
    text = browser.wait("(document.querySelector('#answer .bad') || {}).textContent", 60) or ""
    tap.check("what is no picture: the server's words", text.startswith("422: "), text)


def check_layers(browser):
    browser.run(card("fashion-mnist") + ".querySelector('details').open = true")
    rows = browser.wait("(r => r.length && r)([...%s.querySelectorAll('tbody tr')].map(r => r.children[2].textContent))"
                        % card("fashion-mnist"), 60) or []
    values = [float(r) for r in rows]
    tap.check("layers, worst first", len(values) >= 10 and values == sorted(values), rows)
    browser.run(button("fashion-mnist", "Show all"))
    tap.check("  and all of them", browser.run(card("fashion-mnist") + ".querySelectorAll('tbody tr').length") > len(rows))


def check_monitors(browser):
    """What the server may measure or not, put into its answer here."""
    browser.run("""(plain => { globalThis.fetch = async (path, options) => {
      const answer = await plain(path, options);
      if (path !== 'metrics')
        return answer;
      const of = 'model="fashion-mnist"', more = `quantd_drift{${of}} 0.375\\nquantd_shadow_agreement_ratio{${of}} 0.75\\n` +
        `quantd_layer_saturation_ratio{${of},layer="a \\\\"}\\\\"} <b>"} 0.5\\n`;
      return new Response(await answer.text() + more, {headers: answer.headers}); }; globalThis.plain = plain; })(fetch)""")
    text = card("fashion-mnist") + ".textContent"
    tap.check("drift, agreement and saturation where they are measured", browser.wait(
        "(t => t.includes('live agreement75.00 %%') && t.includes('drift0.375other pictures') && "
        "t.includes('clipped now50.000 %%at most: a \"}\"} <b>'))(%s)" % text, 60), browser.run(text))
    browser.run("globalThis.fetch = globalThis.plain")
    hidden = ("[...%s.querySelectorAll('dt')].filter(t => ['drift', 'clipped now', 'live agreement'].includes(t.textContent) && "
              "t.parentElement.hidden).length === 3" % card("fashion-mnist"))
    tap.check("  and nothing where they are not", browser.wait(hidden, 60))


def check_inert(browser):
    browser.run("document.getElementById('try-model').value = %s" % json.dumps(HOSTILE))
    browser.put_files("#file", PICTURE)
    first = browser.wait("(document.querySelector('.classes li span') || {}).textContent", 60) or ""
    tap.check("a label with markup is text", first.startswith(LABEL), first)
    browser.run(card(HOSTILE) + ".querySelector('details').open = true")
    layers_with(browser, HOSTILE, "", 60)
    browser.run(button(HOSTILE, "Show all"))
    tap.check("  so is a layer's name", layers_with(browser, HOSTILE, LAYER, 60))
    made = browser.run("document.querySelectorAll('img:not(#preview), body script:not(:last-of-type), i, b, [onerror], [onload], "
                       "[onclick]').length")
    tap.check("  and nothing was made of them", made == 0 and not browser.said("Page.javascriptDialogOpening"), made)


def check_calibration(browser, daemon):
    tap.check("recalibrating asks first", press(browser, "fashion-mnist", "Recalibrate"))
    browser.run("document.getElementById('dialog-no').click()")
    tap.check("  and does nothing where one leaves it", json.loads(daemon.ask("GET", "/recalibrate")[2]) == {"jobs": []})
    press(browser, "fashion-mnist", "Recalibrate")
    confirm(browser, method="nothing")
    text = browser.wait("document.getElementById('dialog-error').textContent") or ""
    tap.check("  an unknown method: the server's words", text.startswith("method: expected one of"), text)
    confirm(browser, method="mse")
    job = card("fashion-mnist") + ".querySelector('.job')"
    tap.check("  it runs", browser.wait("!%s.hidden && %s.textContent" % (job, job), 60))
    text = browser.wait("(t => t.includes('done after') && t)(%s.textContent)" % job, 300) or ""
    tap.check("  its result, by the gate's measure",
              re.search(r"generation 2 serves, agreement with fp32 \d+\.\d\d %, output SQNR", text), text)
    press(browser, HOSTILE, "Recalibrate")
    confirm(browser)
    job = card(HOSTILE) + ".querySelector('.job')"
    text = browser.wait("(t => t.includes('refused after') && t)(%s.textContent)" % job, 300) or ""
    tap.check("a refusal says what the gate says, with the worst",
              "the gate refused the new scales" in text and "worst tensor" in text, text)
    press(browser, "fashion-mnist", "Recalibrate")
    confirm(browser, method="adlq")
    cancel = "(b => b.click())(%s.querySelector('.job button'))" % card("fashion-mnist")
    job = card("fashion-mnist") + ".querySelector('.job')"
    tap.check("progress is shown",
              browser.wait("%s.className.includes('running') && /\\d+ %%/.test(%s.textContent)" % (job, job), 60))
    browser.run(cancel)
    confirm(browser)
    tap.check("  and it can be cancelled", browser.wait("%s.textContent.includes('cancelled after')" % job, 300),
              browser.run(job + ".textContent"))
    press(browser, "fashion-mnist", "Roll back")
    confirm(browser)
    tap.check("rolled back", browser.wait("%s.textContent.includes('generation 1')" % card("fashion-mnist"), 60))


CONTRAST = """(() => {
  const light = c => { const v = c.map(x => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
                       return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const parse = t => t.match(/[\\d.]+/g).map(Number);
  const under = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
                       if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.disabled ||
        ['SCRIPT', 'OPTION', 'NOSCRIPT'].includes(e.tagName)) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(under(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(e.tagName + ' ' + e.textContent.slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return bad; })()"""


def check_looks(browser):
    for scheme in ("light", "dark"):
        for width in (360, 1400):
            browser.size(width, 900, scheme)
            wide = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            tap.check("%d px, %s: nothing beyond the edge" % (width, scheme), wide <= 0, wide)
        bad = browser.run(CONTRAST)
        tap.check("  contrast is 4.5 at least", bad == [], bad)
    moving = browser.run("document.getAnimations().length")
    tap.check("nothing moves", moving == 0, moving)
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "textbox", "combobox", "image", "progressbar", "link", "region", "dialog")
    nameless = [n["role"]["value"] for n in tree if not n.get("ignored") and n.get("role", {}).get("value") in roles
                and not n.get("name", {}).get("value")]
    tap.check("everything that can be used has a name", not nameless, nameless)
    wanted = "document.activeElement.textContent.startsWith('Recalibrate')"
    for _ in range(20):
        browser.key("Tab", "Tab", 9)
        if browser.run(wanted):
            break
    browser.key("Enter", "Enter", 13)
    browser.run("document.activeElement.click()")
    tap.check("by the keyboard: to a button and into its dialog", browser.wait("document.getElementById('dialog').open", 60))
    browser.key("Escape", "Escape", 27)
    tap.check("  and back to it", browser.wait("!document.getElementById('dialog').open && " + wanted, 60),
              browser.run("document.activeElement.outerHTML"))


def loads_of(browser):
    return [e["request"]["url"] for e in browser.said("Network.requestWillBeSent")]


def check_clean(browser, daemon):
    """Nobody complained, nothing went elsewhere. 422 and 400 were asked for."""
    said = browser.said("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    errors = [e for e in said if not re.search(r"status of (400|401|422)", json.dumps(e))]
    tap.check("no error on the console", not errors, errors[:3])
    issues = [e for e in browser.said("Audits.issueAdded") if "ContentSecurityPolicy" in e["issue"]["code"]]
    tap.check("no violation of the policy", not issues, issues[:2])
    away = [u for u in loads_of(browser) if not u.startswith((daemon.url, "blob:" + daemon.url, "data:", "about:"))]
    tap.check("no request to anybody else", not away, away[:5])


def check_hidden(browser):
    browser.run("globalThis.away = true; Object.defineProperty(document, 'hidden', {get: () => globalThis.away}); 1")
    time.sleep(4)
    browser.run("1")
    before = len(loads_of(browser))
    time.sleep(5)
    browser.run("1")
    tap.check("a hidden page hardly asks", len(loads_of(browser)) - before <= 5, len(loads_of(browser)) - before)
    browser.run("globalThis.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    tap.check("  and does again at once when it is seen", (time.sleep(10), browser.run("1")) and len(loads_of(browser)) > before)


def check_policy_holds(browser):
    browser.run("(s => { s.textContent = 'globalThis.intruder = 1'; document.body.append(s); s.remove(); })"
                "(document.createElement('script'))")
    tap.check("the policy holds: a script that is put in does not run", not browser.run("globalThis.intruder"))


def check_restart(browser, daemon):
    daemon.process.terminate()
    daemon.process.wait(60)
    tap.check("the server is gone: it says so", browser.wait(
        "!document.getElementById('gone').hidden && document.getElementById('gone').textContent.includes('does not answer')", 60))
    tap.check("  what was known stays", browser.run("Boolean(%s)" % card("fashion-mnist")))
    again = Daemon(port=daemon.port)
    tap.check("it is back: so is the page", browser.wait("document.getElementById('gone').hidden && "
                                                         "document.getElementById('state').textContent === 'ready'", 60))
    tap.check("  with the models", browser.run("%s.textContent.includes('ready')" % card("fashion-mnist")))
    return again


class Elsewhere(http.server.SimpleHTTPRequestHandler):
    """A page of another origin, which asks a server on this machine to change something."""

    def __init__(self, target, *rest):
        self.target = target
        super().__init__(*rest)

    def do_GET(self):
        page = """<!DOCTYPE html><title>elsewhere</title><link rel=icon href="data:,"><iframe src="%s"></iframe><script>
const tries = ['text/plain', 'application/x-www-form-urlencoded'].map(type =>
  fetch('%srecalibrate', {method: 'POST', mode: 'no-cors', headers: {'Content-Type': type}, body: '{}'}));
tries.push(fetch('%smodels/fashion-mnist/rollback', {method: 'POST', mode: 'no-cors', referrerPolicy: 'no-referrer'}));
Promise.allSettled(tries).then(all => { document.title = 'tried ' + all.map(a => a.status); });</script>"""
        page = (page % ((self.target,) * 3)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_):
        pass


def check_elsewhere(browser, daemon):
    jobs = daemon.ask("GET", "/recalibrate")[2]
    log = os.path.join(WORK, "access")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Elsewhere, daemon.url))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.open("http://127.0.0.1:%d/" % server.server_address[1])
    title = browser.wait("document.title.startsWith('tried') && document.title", 60)
    server.shutdown()
    server.server_close()
    with open(log, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    posts = [(line["path"], line["status"]) for line in lines if line["method"] == "POST"][-3:]
    tap.check("a page of another origin reaches this server", title and len(posts) == 3, (title, posts))
    tap.check("  but changes nothing",
              all(status == 403 for _, status in posts) and daemon.ask("GET", "/recalibrate")[2] == jobs, posts)
    framed = browser.call("Page.getFrameTree")["frameTree"].get("childFrames", [])
    tap.check("  and does not show it in a frame", all(f["frame"]["url"].startswith("chrome-error:") for f in framed) and framed,
              [f["frame"]["url"] for f in framed])


def check_token(browser):
    path = os.path.join(WORK, "token")
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
        file.write(TOKEN + "\n")
    with Daemon("--admin-token-file", path, models=BUNDLED) as daemon:
        browser.open(daemon.url)
        browser.wait("location.href === %s && Boolean(%s)" % (json.dumps(daemon.url), card("fashion-mnist")))
        press(browser, "fashion-mnist", "Recalibrate")
        confirm(browser, method="minmax")
        text = browser.wait("document.getElementById('dialog-error').textContent") or ""
        tap.check("without the token: the server's words", "expected 'Authorization: Bearer TOKEN'" in text, text)
        confirm(browser, token=TOKEN, method="minmax")
        job = card("fashion-mnist") + ".querySelector('.job').textContent.includes('done after')"
        tap.check("with it: done", browser.wait(job, 300))
        kept = browser.run("localStorage.length + sessionStorage.length + document.cookie.length")
        tap.check("  and it is kept nowhere", kept == 0, kept)


def main():
    make_repository(os.path.join(WORK, "models"))
    daemon = Daemon("--access-log", os.path.join(WORK, "access"))
    check_headers(daemon)
    with Browser() as browser:
        browser.call("Accessibility.enable")
        browser.size(1400, 900)
        browser.open(daemon.url)
        browser.wait("Boolean(document.querySelector('.model'))")
        check_facts(browser)
        check_picture(browser)
        check_layers(browser)
        check_monitors(browser)
        check_inert(browser)
        check_calibration(browser, daemon)
        check_looks(browser)
        check_hidden(browser)
        check_clean(browser, daemon)
        check_elsewhere(browser, daemon)
        browser.open(daemon.url)
        browser.wait("Boolean(document.querySelector('.model'))")
        check_policy_holds(browser)
        daemon = check_restart(browser, daemon)
        check_token(browser)
    daemon.__exit__()
    shutil.rmtree(os.path.join(WORK, "models"))
    tap.done()


if __name__ == "__main__":
    main()
