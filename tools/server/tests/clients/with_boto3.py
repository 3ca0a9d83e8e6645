"""What programs do with boto3; fails with the first thing that is not as S3 has it."""

import hashlib
import io
import os
import threading
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError


def client(**config):
    return boto3.client("s3", endpoint_url=os.environ["KOGIA_ENDPOINT"], config=Config(**config))


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response
    raise AssertionError(f"{code} was expected")


s3 = client()
BUCKET = "boto3"


def objects():
    body = os.urandom(100_000)
    put = s3.put_object(
        Bucket=BUCKET, Key="a b/ü+%", Body=body, ContentType="video/mp2t", Metadata={"camera": "1"}
    )
    assert put["ETag"].strip('"') == hashlib.md5(body).hexdigest()
    got = s3.get_object(Bucket=BUCKET, Key="a b/ü+%")
    assert got["Body"].read() == body
    assert got["ContentType"] == "video/mp2t" and got["Metadata"] == {"camera": "1"}
    ranged = s3.get_object(Bucket=BUCKET, Key="a b/ü+%", Range="bytes=10-19")
    assert ranged["Body"].read() == body[10:20]
    for algorithm in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
        put = s3.put_object(
            Bucket=BUCKET, Key="sum", Body=io.BytesIO(body), ChecksumAlgorithm=algorithm
        )
        head = s3.head_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")
        assert head[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
        assert s3.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")["Body"].read() == body
    refused("NoSuchKey", s3.get_object, Bucket=BUCKET, Key="absent")
    refused("404", s3.head_object, Bucket=BUCKET, Key="absent")
    refused("NoSuchBucket", s3.list_objects_v2, Bucket="absent-bucket")
    s3.delete_object(Bucket=BUCKET, Key="sum")
    s3.delete_object(Bucket=BUCKET, Key="sum")


def conditions():
    s3.put_object(Bucket=BUCKET, Key="once", Body=b"1", IfNoneMatch="*")
    refused("PreconditionFailed", s3.put_object, Bucket=BUCKET, Key="once", Body=b"2", IfNoneMatch="*")
    etag = s3.head_object(Bucket=BUCKET, Key="once")["ETag"]
    s3.put_object(Bucket=BUCKET, Key="once", Body=b"3", IfMatch=etag)
    refused("PreconditionFailed", s3.put_object, Bucket=BUCKET, Key="once", Body=b"4", IfMatch=etag)
    refused("304", s3.get_object, Bucket=BUCKET, Key="once", IfNoneMatch='"eccbc87e4b5ce2fe28308fd9f2a7baf3"')


def transfers():
    body = os.urandom(25 << 20)
    config = TransferConfig(multipart_chunksize=5 << 20, max_concurrency=8)
    s3.upload_fileobj(io.BytesIO(body), BUCKET, "large", Config=config)
    back = io.BytesIO()
    s3.download_fileobj(BUCKET, "large", back, Config=config)
    assert back.getvalue() == body
    s3.copy({"Bucket": BUCKET, "Key": "large"}, BUCKET, "copy", Config=TransferConfig(multipart_threshold=8 << 20))
    assert s3.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == body
    s3.copy_object(Bucket=BUCKET, Key="again", CopySource={"Bucket": BUCKET, "Key": "copy"})
    assert s3.get_object(Bucket=BUCKET, Key="again")["ETag"].strip('"') == hashlib.md5(body).hexdigest()
    for checksum_type, algorithm in (("FULL_OBJECT", "CRC32"), ("COMPOSITE", "SHA256")):
        upload = s3.create_multipart_upload(
            Bucket=BUCKET, Key="sum", ChecksumAlgorithm=algorithm, ChecksumType=checksum_type
        )["UploadId"]
        parts = []
        for number in (1, 2):
            part = s3.upload_part(
                Bucket=BUCKET, Key="sum", UploadId=upload, PartNumber=number,
                Body=body[: 5 << 20], ChecksumAlgorithm=algorithm,
            )
            name = f"Checksum{algorithm}"
            parts.append({"PartNumber": number, "ETag": part["ETag"], name: part[name]})
        assert len(s3.list_parts(Bucket=BUCKET, Key="sum", UploadId=upload)["Parts"]) == 2
        done = s3.complete_multipart_upload(
            Bucket=BUCKET, Key="sum", UploadId=upload, MultipartUpload={"Parts": parts}
        )
        assert done["ChecksumType"] == checksum_type
        assert s3.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")["Body"].read() == body[: 5 << 20] * 2
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="never")["UploadId"]
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]] == [upload]
    s3.abort_multipart_upload(Bucket=BUCKET, Key="never", UploadId=upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)


def listings():
    keys = [f"list/{i % 10}/{i}" for i in range(1500)]

    def put(some):
        own = client()
        for key in some:
            own.put_object(Bucket=BUCKET, Key=key, Body=b"")

    threads = [threading.Thread(target=put, args=(keys[i::8],)) for i in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for name in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(name).paginate(Bucket=BUCKET, Prefix="list/")
        assert [o["Key"] for page in pages for o in page["Contents"]] == sorted(keys)
        pages = s3.get_paginator(name).paginate(
            Bucket=BUCKET, Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": 3}
        )
        prefixes = [p["Prefix"] for page in pages for p in page["CommonPrefixes"]]
        assert prefixes == [f"list/{i}/" for i in range(10)]
    gone = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in keys[:1000]]})
    assert len(gone["Deleted"]) == 1000
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="list/")["KeyCount"] == 500


def urls():
    new = client(signature_version="s3v4")
    put = new.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "url"})
    urllib.request.urlopen(urllib.request.Request(put, data=b"by url", method="PUT"))
    # The other is what boto3 makes unless it is told.
    for signer in (new, s3):
        get = signer.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "url"})
        assert urllib.request.urlopen(get).read() == b"by url"


def tags():
    s3.put_object(Bucket=BUCKET, Key="tagged", Body=b"x", Tagging="a=1")
    s3.put_object_tagging(Bucket=BUCKET, Key="tagged", Tagging={"TagSet": [{"Key": "b", "Value": "2"}]})
    assert s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == [{"Key": "b", "Value": "2"}]


def versions():
    s3.create_bucket(Bucket="boto3-versions")
    s3.put_bucket_versioning(Bucket="boto3-versions", VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket="boto3-versions")["Status"] == "Enabled"
    bodies = {}
    for i in range(5):
        put = s3.put_object(Bucket="boto3-versions", Key="key", Body=f"{i}")
        bodies[put["VersionId"]] = f"{i}".encode()
    marker = s3.delete_object(Bucket="boto3-versions", Key="key")
    assert marker["DeleteMarker"]
    refused("NoSuchKey", s3.get_object, Bucket="boto3-versions", Key="key")
    for version, body in bodies.items():
        got = s3.get_object(Bucket="boto3-versions", Key="key", VersionId=version)
        assert got["Body"].read() == body
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket="boto3-versions", PaginationConfig={"PageSize": 2}
    )
    pages = list(pages)
    listed = [v["VersionId"] for page in pages for v in page.get("Versions", [])]
    assert listed == list(reversed(bodies)), listed
    markers = [m for page in pages for m in page.get("DeleteMarkers", [])]
    assert [m["VersionId"] for m in markers] == [marker["VersionId"]] and markers[0]["IsLatest"]
    s3.delete_object(Bucket="boto3-versions", Key="key", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket="boto3-versions", Key="key")["Body"].read() == b"4"
    versions = boto3.resource("s3", endpoint_url=os.environ["KOGIA_ENDPOINT"]).Bucket("boto3-versions")
    versions.object_versions.all().delete()
    versions.delete()


def locks():
    bucket = "boto3-locks"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    refused("InvalidBucketState", s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    s3.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    told = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    assert told == {"ObjectLockEnabled": "Enabled", "Rule": rule}, told
    default = s3.put_object(Bucket=bucket, Key="default", Body=b"x")["VersionId"]
    until = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=7)
    own = s3.put_object(
        Bucket=bucket, Key="own", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until,
        ObjectLockLegalHoldStatus="ON",
    )["VersionId"]
    head = s3.head_object(Bucket=bucket, Key="own")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until), head
    assert head["ObjectLockLegalHoldStatus"] == "ON"
    assert s3.get_object_retention(Bucket=bucket, Key="own")["Retention"]["RetainUntilDate"] == until
    for key, version in (("default", default), ("own", own)):
        refused("AccessDenied", s3.delete_object, Bucket=bucket, Key=key, VersionId=version)
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": until - timedelta(days=1)}
    refused("AccessDenied", s3.put_object_retention, Bucket=bucket, Key="own", Retention=shorter)
    s3.put_object_retention(Bucket=bucket, Key="own", Retention=shorter, BypassGovernanceRetention=True)
    refused("AccessDenied", s3.delete_object, Bucket=bucket, Key="own", VersionId=own, BypassGovernanceRetention=True)
    s3.put_object_legal_hold(Bucket=bucket, Key="own", LegalHold={"Status": "OFF"})
    assert s3.get_object_legal_hold(Bucket=bucket, Key="own")["LegalHold"]["Status"] == "OFF"
    for key, version in (("default", default), ("own", own)):
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version, BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=bucket)


def settings():
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=BUCKET)
    rule = {"ID": "clips", "Status": "Enabled", "Filter": {"Prefix": "clips/"}, "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"] == [rule]
    s3.put_object(Bucket=BUCKET, Key="clips/a", Body=b"x")
    assert 'rule-id="clips"' in s3.head_object(Bucket=BUCKET, Key="clips/a")["Expiration"]
    by_tag = {"And": {"Prefix": "clips/", "Tags": [{"Key": "keep", "Value": "short"}], "ObjectSizeGreaterThan": 2}}
    date = datetime(2500, 1, 1, tzinfo=timezone.utc)
    rules = [
        {"ID": "tag", "Status": "Enabled", "Filter": by_tag, "Expiration": {"Days": 2}},
        {"ID": "date", "Status": "Enabled", "Filter": {"ObjectSizeLessThan": 3}, "Expiration": {"Date": date}},
    ]
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rules})
    assert s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"] == rules
    tagged = s3.put_object(Bucket=BUCKET, Key="clips/a", Body=b"1234", Tagging="keep=short")
    assert 'rule-id="tag"' in tagged["Expiration"], tagged
    assert 'rule-id="date"' in s3.put_object(Bucket=BUCKET, Key="clips/b", Body=b"12")["Expiration"]
    s3.delete_bucket_lifecycle(Bucket=BUCKET)
    cors = {"AllowedOrigins": ["https://*.example.org"], "AllowedMethods": ["GET"], "MaxAgeSeconds": 60}
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [cors]})
    assert s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"] == [cors]
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert s3.get_bucket_acl(Bucket=BUCKET)["Grants"][0]["Permission"] == "FULL_CONTROL"
    refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=BUCKET)


def forms():
    def send(post, body):
        parts = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in post["fields"].items()
        )
        head = '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        form = (parts + head).encode() + body + b"\r\n--x--\r\n"
        request = urllib.request.Request(post["url"], form, method="POST")
        request.add_header("Content-Type", "multipart/form-data; boundary=x")
        try:
            return urllib.request.urlopen(request).status
        except urllib.error.HTTPError as error:
            return error.code

    for version in ("s3", "s3v4"):
        post = client(signature_version=version).generate_presigned_post(
            BUCKET, "form", Fields={"Content-Type": "video/mp2t"},
            Conditions=[{"Content-Type": "video/mp2t"}, ["content-length-range", 1, 1000]],
        )
        assert send(post, version.encode() * 10) == 204
        found = s3.get_object(Bucket=BUCKET, Key="form")
        assert found["ContentType"] == "video/mp2t"
        assert found["Body"].read() == version.encode() * 10
        assert send(post, b"x" * 1001) == 400
        post["fields"]["key"] = "elsewhere"
        assert send(post, b"x") in (400, 403)
    refused("NoSuchKey", s3.get_object, Bucket=BUCKET, Key="elsewhere")


def keys():
    stranger = boto3.client(
        "s3", endpoint_url=os.environ["KOGIA_ENDPOINT"],
        aws_access_key_id="NOBODY", aws_secret_access_key="nothing",
    )
    refused("InvalidAccessKeyId", stranger.list_buckets)
    wrong = boto3.client(
        "s3", endpoint_url=os.environ["KOGIA_ENDPOINT"], aws_secret_access_key="wrong",
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
    )
    refused("SignatureDoesNotMatch", wrong.list_buckets)


s3.create_bucket(Bucket=BUCKET)
refused("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket=BUCKET)
for check in (objects, conditions, transfers, listings, urls, forms, tags, versions, locks, settings, keys):
    check()
    print(f"{check.__name__} passed")
bucket = boto3.resource("s3", endpoint_url=os.environ["KOGIA_ENDPOINT"]).Bucket(BUCKET)
refused("BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)
bucket.objects.all().delete()
bucket.delete()
