"""An S3 that runs here, spoken to by the clients that everybody uses."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from scorer.local.ports import free_ports, is_free

BUCKET = "bundles"
READY_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Storage:
    """One bucket."""

    port: int

    def upload(self, folder: Path, prefix: str) -> str:
        """Copies the files of a folder and returns its URL."""
        for path in folder.iterdir():
            self.put(f"{prefix}/{path.name}", path.read_bytes())
        return f"s3://{BUCKET}/{prefix}"

    def put(self, name: str, content: bytes) -> None:
        """Writes one object."""
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}", config=Config(proxies={}))
        client.put_object(Bucket=BUCKET, Key=name, Body=content)
        client.close()


@contextmanager
def storage(log: Path, variables: pytest.MonkeyPatch) -> Iterator[Storage]:
    """A bucket for the length of a block; processes that are started meanwhile find it."""
    (port,) = free_ports(1)
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=output, stderr=output
        )
    try:
        variables.setenv("AWS_ACCESS_KEY_ID", "testing")
        variables.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        variables.setenv("AWS_DEFAULT_REGION", "us-east-1")
        variables.setenv("AWS_EC2_METADATA_DISABLED", "true")
        point_to(port, variables)
        deadline_s = time.monotonic() + READY_S_MAX
        while is_free(port):
            assert server.poll() is None and time.monotonic() < deadline_s, log.read_text()  # noqa: PT018
            time.sleep(0.1)
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield Storage(port)
    finally:
        server.terminate()
        server.wait(READY_S_MAX)


def point_to(port: int, variables: pytest.MonkeyPatch) -> None:
    """Processes that are started from now on look for S3 there."""
    variables.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
