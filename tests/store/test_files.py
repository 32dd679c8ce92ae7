"""Where contents of documents are kept: a directory, or a bucket."""

from pathlib import Path

import pytest

from batchyard.config import Config
from batchyard.errors import ConfigError, ContentMissing, StoreError
from batchyard.store.files import FileStore, check_document_store
from batchyard.store.ids import new_id
from tests.store.bucket_server import SECRET, BucketServer, serving


def bucket_config(address: str, secret: str = SECRET) -> Config:
    return Config.model_validate(
        {
            "document_store": "s3://labels/batchyard",
            "s3_endpoint_url": address,
            "s3_region": "eu-north-1",
            "s3_access_key_id": "key",
            "s3_secret_access_key": secret,
        }
    )


def test_postgresql_keeps_contents_in_its_rows() -> None:
    assert not FileStore(Config()).is_outside


async def test_a_directory_gives_back_what_it_was_given(tmp_path: Path) -> None:
    store = FileStore(Config(document_store=f"file://{tmp_path}/a folder"))

    location = await store.keep(b"content", document_id=new_id(), suffix="pdf")

    assert location.startswith(f"file://{tmp_path}/a folder/")
    assert await store.fetch(location) == b"content"
    assert await FileStore(Config()).fetch(location) == b"content"


async def test_a_directory_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FileStore(Config(document_store=f"file://{tmp_path}/file"))

    with pytest.raises(StoreError, match="cannot be written"):
        await store.keep(b"content", document_id=new_id(), suffix="pdf")
    with pytest.raises(StoreError, match="cannot be read"):
        await store.fetch(f"file://{tmp_path}/none")


async def test_a_bucket_gives_back_what_it_was_given() -> None:
    bucket = BucketServer()
    async with serving(bucket) as address:
        store = FileStore(bucket_config(address))

        location = await store.keep(b"content", document_id=new_id(), suffix="zpl")

        assert location.startswith("s3://labels/batchyard/")
        assert bucket.objects == {f"/labels/{location.removeprefix('s3://labels/')}": b"content"}
        assert await store.fetch(location) == b"content"


async def test_a_bucket_refuses_a_wrong_secret() -> None:
    async with serving(BucketServer()) as address:
        store = FileStore(bucket_config(address, secret="wrong"))

        with pytest.raises(StoreError, match="cannot be written"):
            await store.keep(b"content", document_id=new_id(), suffix="pdf")


async def test_a_missing_object_is_told_from_a_missing_bucket() -> None:
    bucket = BucketServer()
    async with serving(bucket) as address:
        store = FileStore(bucket_config(address))

        with pytest.raises(ContentMissing, match="cannot be read"):
            await store.fetch("s3://labels/none")
        bucket.is_removed = True
        with pytest.raises(StoreError, match="cannot be read") as told:
            await store.fetch("s3://labels/none")
        assert told.type is StoreError


async def test_a_missing_file_is_told_from_a_missing_folder(tmp_path: Path) -> None:
    store = FileStore(Config(document_store=f"file://{tmp_path}/labels"))
    location = await store.keep(b"content", document_id=new_id(), suffix="pdf")
    [kept] = (tmp_path / "labels").glob("*/*")

    kept.unlink()
    with pytest.raises(ContentMissing, match="cannot be read"):
        await store.fetch(location)
    kept.parent.rmdir()
    with pytest.raises(StoreError, match="cannot be read") as told:
        await store.fetch(location)
    assert told.type is StoreError


@pytest.mark.parametrize("place", ["", "labels", "file://x", "http://bucket", "s3://", "s3:///x"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match="document_store"):
        Config(document_store=place)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="s3_endpoint_url"):
        bucket_config("not an address")


def test_a_folder_that_cannot_be_written_is_found_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    check_document_store(Config(document_store=f"file://{tmp_path}/made"))
    with pytest.raises(ConfigError, match="Set BATCHYARD_DOCUMENT_STORE to a folder"):
        check_document_store(Config(document_store=f"file://{tmp_path}/file"))
