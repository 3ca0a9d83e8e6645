"""What programs do with obstore, which is the Rust crate object_store's AmazonS3 client."""

import os
from concurrent.futures import ThreadPoolExecutor

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError
from obstore.store import S3Store

BUCKET = "obstore"


def store(prefix=None):
    return S3Store(
        BUCKET, prefix=prefix, endpoint=os.environ["KOGIA_ENDPOINT"], region="us-east-1",
        client_options={"allow_http": True}, virtual_hosted_style_request=False,
        conditional_put="etag",
    )


def refused(error, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except error:
        return
    raise AssertionError(f"{error} was expected")


s3 = store()


def objects():
    body = os.urandom(1 << 20)
    obstore.put(s3, "a b/ü+%", body, attributes={"Content-Type": "video/mp2t", "camera": "1"})
    got = obstore.get(s3, "a b/ü+%")
    assert got.attributes["Content-Type"] == "video/mp2t" and got.attributes["camera"] == "1"
    assert bytes(got.bytes()) == body
    assert bytes(obstore.get_range(s3, "a b/ü+%", start=10, end=20)) == body[10:20]
    ranges = obstore.get_ranges(s3, "a b/ü+%", starts=[0, 500_000, 5], ends=[10, 500_100, 15])
    assert [bytes(r) for r in ranges] == [body[0:10], body[500_000:500_100], body[5:15]]
    assert obstore.head(s3, "a b/ü+%")["size"] == len(body)
    obstore.copy(s3, "a b/ü+%", "copy")
    assert bytes(obstore.get(s3, "copy").bytes()) == body
    obstore.rename(s3, "copy", "renamed")
    refused((NotFoundError, FileNotFoundError), obstore.head, s3, "copy")
    obstore.delete(s3, ["renamed", "a b/ü+%"])
    refused((NotFoundError, FileNotFoundError), obstore.get, s3, "renamed")


def conditions():
    first = obstore.put(s3, "once", b"1", mode="create")
    refused(AlreadyExistsError, obstore.put, s3, "once", b"2", mode="create")
    second = obstore.put(s3, "once", b"2", mode={"e_tag": first["e_tag"]})
    refused(PreconditionError, obstore.put, s3, "once", b"3", mode={"e_tag": first["e_tag"]})
    assert bytes(obstore.get(s3, "once", options={"if_match": second["e_tag"]}).bytes()) == b"2"
    with ThreadPoolExecutor(8) as threads:
        def create(i):
            try:
                obstore.put(s3, "race", bytes([i]), mode="create")
                return i
            except AlreadyExistsError:
                return None
        won = [i for i in threads.map(create, range(8)) if i is not None]
    assert len(won) == 1 and bytes(obstore.get(s3, "race").bytes()) == bytes(won)


def multipart():
    body = os.urandom(23 << 20)
    obstore.put(s3, "large", body, use_multipart=True, chunk_size=5 << 20, max_concurrency=4)
    read = b"".join(bytes(piece) for piece in obstore.get(s3, "large").stream(min_chunk_size=1 << 20))
    assert read == body
    with obstore.open_writer(s3, "written", buffer_size=5 << 20) as file:
        for at in range(0, len(body), 1 << 20):
            file.write(body[at : at + (1 << 20)])
    assert bytes(obstore.get(s3, "written").bytes()) == body


def listings():
    below = store("list")
    keys = [f"{i % 10}/{i:04}" for i in range(1300)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: obstore.put(below, key, b""), keys))
    listed = [meta["path"] for page in obstore.list(below, chunk_size=100) for meta in page]
    assert sorted(listed) == sorted(keys)
    behind = [meta["path"] for page in obstore.list(below, offset="5/0005") for meta in page]
    assert sorted(behind) == sorted(key for key in keys if key > "5/0005")
    level = obstore.list_with_delimiter(below)
    assert level["common_prefixes"] == [str(i) for i in range(10)] and not level["objects"]
    assert len(obstore.list_with_delimiter(below, "7")["objects"]) == 130
    obstore.delete(below, keys)
    assert not [meta for page in obstore.list(below) for meta in page]


for check in (objects, conditions, multipart, listings):
    check()
    print(f"{check.__name__} passed")
