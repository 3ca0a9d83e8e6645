"""The status page, as somebody who looks at it has it: what it shows, and what it does not let in."""

import os
import random
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from playwright.sync_api import expect, sync_playwright

s3, admin, chromium, picture = sys.argv[1:5]
HOSTILE = "<img src=x onerror=\"document.title='stolen'\"> \u202egpj.exe"
CREDENTIALS = {"username": os.environ["KOGIA_ACCESS_KEY"], "password": os.environ["KOGIA_SECRET_KEY"]}
stop = threading.Event()


def put(target, body=b"", headers=None):
    url = s3 + urllib.parse.quote(target)
    request = urllib.request.Request(url, data=body, method="PUT", headers=headers or {})
    urllib.request.urlopen(request).read()


def delete(target):
    url = s3 + urllib.parse.quote(target)
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).read()


def fill():
    dice = random.Random(1)
    for bucket in ("recordings", "logs"):
        put(f"/{bucket}")
        for number in range(150):
            folder = f"camera-{number % 3}/"
            put(f"/{bucket}/{folder}{number:04}.ts", dice.randbytes(dice.randrange(1000, 200_000)))
        for number in range(0, 150, 6):
            delete(f"/{bucket}/camera-0/{number:04}.ts")
    put("/recordings/" + HOSTILE, b"<script>document.title='stolen'</script>",
        {"content-type": "text/html", "x-amz-meta-camera": "7"})


def load():
    """Something for the chart."""
    dice = random.Random(2)
    number = 0
    while not stop.is_set():
        number += 1
        put(f"/logs/live/{number:06}", dice.randbytes(dice.randrange(50_000, 400_000)))
        for _ in range(dice.randrange(3)):
            urllib.request.urlopen(f"{s3}/logs/live/{number:06}").read()
        time.sleep(dice.random() / 5)


def watch(page, complaints):
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith((admin, "data:", "blob:"))
            else complaints.append("asked " + asked.url))


def look(browser):
    complaints = []
    try:
        urllib.request.urlopen(admin + "/")
        raise AssertionError("a stranger got in")
    except urllib.error.HTTPError as refused:
        assert refused.code == 401

    context = browser.new_context(http_credentials=CREDENTIALS, viewport={"width": 1280, "height": 900},
                                  color_scheme="light", locale="en-GB")
    page = context.new_page()
    watch(page, complaints)
    assert page.goto(admin + "/").status == 200
    expect(page.locator("#state")).to_have_text("serving", timeout=20_000)
    expect(page.locator("#disks .disk")).to_have_count(2)
    expect(page.locator("#tracks tbody tr").first).to_be_visible()
    expect(page.locator("#compaction")).to_contain_text("partition 1: ")

    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#jobs")).to_contain_text("done", timeout=60_000)
    page.get_by_role("button", name="Compact now").click()
    expect(page.locator("#jobs tbody tr")).to_have_count(2, timeout=60_000)

    page.get_by_role("button", name="recordings").click()
    expect(page.locator("#listing tbody tr")).to_have_count(4)
    page.get_by_role("button", name="onerror").click()
    expect(page.locator("#facts")).to_contain_text("metadata camera")
    # As text, and what would turn it around as its number.
    expect(page.locator("#facts")).to_contain_text("\\u{202e}gpj.exe")
    assert page.locator("#facts img, #listing img").count() == 0
    with page.expect_download() as saving:
        page.locator("#facts a").click()
    with open(saving.value.path(), "rb") as saved:
        assert saved.read() == b"<script>document.title='stolen'</script>"
    assert page.title() == "Kogia"

    page.get_by_role("button", name="camera-1/").click()
    expect(page.locator("#listing tbody tr")).to_have_count(50)
    page.get_by_role("button", name="buckets").click()
    page.get_by_role("button", name="logs").click()
    page.get_by_role("button", name="live/").click()
    expect(page.locator("#listing tbody tr").first).to_be_visible()
    page.get_by_role("button", name="buckets").click()
    page.get_by_role("button", name="recordings").click()
    expect(page.locator("#listing tbody tr")).to_have_count(4)

    # A page of more than a page.
    for number in range(120):
        put(f"/recordings/many/{number:03}", b"x")
    page.get_by_role("button", name="recordings").click()
    page.get_by_role("button", name="many/").click()
    expect(page.locator("#listing tbody tr")).to_have_count(100)
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#listing tbody tr")).to_have_count(20)
    page.get_by_role("button", name="Back").click()
    expect(page.locator("#listing tbody tr")).to_have_count(100)
    page.get_by_role("button", name="recordings").click()
    expect(page.locator("#listing tbody tr")).to_have_count(5)

    if picture:
        # Until the chart has something to show.
        page.wait_for_timeout(40_000)
        page.screenshot(path=picture, full_page=True)

    # On a phone, in the dark, nothing is wider than the page.
    phone = browser.new_context(http_credentials=CREDENTIALS, viewport={"width": 375, "height": 800},
                                color_scheme="dark").new_page()
    watch(phone, complaints)
    phone.goto(admin + "/")
    expect(phone.locator("#disks .disk")).to_have_count(2, timeout=20_000)
    wide = phone.evaluate("document.documentElement.scrollWidth")
    assert wide <= 375, wide

    # What is typed into the page by somebody else is not carried out.
    page.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = "document.title = 'stolen'";
        document.body.append(script);
    }""")
    assert page.title() == "Kogia"
    refused = [said for said in complaints if "Content Security Policy" in said]
    assert len(refused) == 1, complaints
    rest = [said for said in complaints if said not in refused]
    assert not rest, rest


fill()
loading = threading.Thread(target=load)
loading.start()
try:
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        look(chrome)
        chrome.close()
finally:
    stop.set()
    loading.join()
