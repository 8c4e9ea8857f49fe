"""Transfers files with boto3 and prints what it took, without starting and importing."""

import json
import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

action, endpoint, bucket, directory, prefix, threads = sys.argv[1:]
threads = int(threads)
client = boto3.client(
    "s3",
    endpoint_url=endpoint,
    config=Config(s3={"addressing_style": "path"}, max_pool_connections=max(10, threads)),
)


def upload(name):
    client.upload_file(os.path.join(directory, name), bucket, prefix + name)


def download(key):
    client.download_file(bucket, key, os.path.join(directory, key.rsplit("/", 1)[1]))


# One request before the clock starts, which makes the connection.
listing = []
for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
    listing += [entry["Key"] for entry in page.get("Contents", [])]
work, items = (upload, sorted(os.listdir(directory))) if action == "upload" else (download, listing)


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


before, begin = cpu(), time.monotonic()
if threads == 1:
    for item in items:
        work(item)
else:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, items))
print(json.dumps({"seconds": time.monotonic() - begin, "cpu": cpu() - before, "items": len(items)}))
