"""URLs: which values are some, what is shown of them, and that none of their secrets is."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpipe.urls import is_url, local, masked, parse

SECRETS = {
    "https://ann:pa55@host/pets.zip": "https://***@host/pets.zip",
    "https://ann:p@55@host/pets.zip": "https://***@host/pets.zip",
    "https://ann:pa/55@host/pets.zip": "https://***@host/pets.zip",
    "ftp://pa55@host/pets/": "ftp://***@host/pets/",
    "https://host/pets.zip?sig=pa55&id=3#revision=2": "https://host/pets.zip?***#revision=2",
    "see 'https://ann:pa55@host/a?b=pa55', then s3://b/c": "see 'https://***@host/a?***', then s3://b/c",
    'source="https://host:80/@ann/a?pa55"': 'source="https://host:80/@ann/a?***"',
}
OPEN = [
    "s3://bucket/pets",
    "https://host:8080/pets/",
    "hf://datasets/ann/pets@main/train",
    "github://ann:pets@main/train",
    "a@b?c",
]


@pytest.mark.parametrize(("text", "shown"), SECRETS.items())
def test_secrets_are_masked_wherever_they_stand_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown
    aligned = masked(text, same_length=True)
    assert len(aligned) == len(text) and "pa55" not in aligned and "55" not in aligned


@pytest.mark.parametrize("text", OPEN)
def test_url_without_a_secret_is_shown_as_it_is(text: str) -> None:
    assert masked(text) == masked(text, same_length=True) == text


def test_a_url_shows_none_of_its_secrets_and_keeps_them() -> None:
    url = parse("https://ann:pa55@host/pets.zip?X-Amz-Signature=pa55")
    assert "pa55" not in f"{url} {url.shown} {url.place} {url.parts}"
    assert url.raw == "https://ann:pa55@host/pets.zip?X-Amz-Signature=pa55"


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("https://ann:one@host/pets.zip", "https://ann:two@host/pets.zip"),
        ("https://host/pets.zip?X-Amz-Signature=1&X-Amz-Date=2", "https://host/pets.zip?X-Amz-Date=3&X-Amz-Signature=4"),
        ("https://acc.host/pets?sv=1&se=2&sr=c&sp=r&sig=3", "https://acc.host/pets?sv=1&se=9&sr=c&sp=r&sig=8"),
        ("https://host/pets.zip?id=1&v=2", "https://host/pets.zip?v=2&id=1&token=5"),
        ("s3://bucket/pets#revision=1", "s3://bucket/pets/#revision=2"),  # a pin is told beside the place
    ],
)
def test_who_asks_does_not_count_for_what_is_asked(a: str, b: str) -> None:
    assert parse(a).place == parse(b).place


def test_what_is_asked_counts() -> None:
    asked = [
        "https://host/pets", "https://host/pets/", "http://host/pets", "https://host:81/pets", "https://other/pets", "https://host/Pets",
        "https://ann@host/pets", "https://ben@host/pets", "https://host/pets?id=1", "https://host/pets?id=2", "https://host/pets?id=1&id=2",
        "s3://bucket/pets", "gs://bucket/pets", "github://ann:pets@main/a", "github://ann:dogs@main/a",
    ]  # fmt: skip
    assert len({parse(url).place for url in asked}) == len(asked)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("memory://pets", "in the memory of one process"),
        ("zip://pets", "no place of its own"),
        ("zip://train::https://host/pets.zip", "joined by ::"),
        ("https://ann:p/5@host/pets", "its port is no number"),
        ("https://host/pets.zip#sha256=abc", "64 hexadecimal digits"),
        ("https://host/pets.zip#revision=", "followed by a name"),
    ],
)
def test_url_that_can_be_no_source(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse(url)
    assert "p/5" not in str(caught.value)


def test_pins() -> None:
    pinned = parse(f"https://host/pets.zip#sha256={'A' * 64}")
    assert (pinned.raw, pinned.sha256, pinned.name) == ("https://host/pets.zip", "a" * 64, "pets.zip")
    named = parse("s3://bucket/a#b.zip#revision=2026-05")
    assert (named.raw, named.revision, named.name) == ("s3://bucket/a#b.zip", "2026-05", "a#b.zip")
    assert parse("s3://bucket/a#b.zip").sha256 == parse("s3://bucket/a#b.zip").revision == ""


def test_copies_lie_to_each_other_as_what_they_are_copies_of_and_nowhere_else() -> None:
    table, images = (
        parse("https://host/sets/pets.csv").below(Path("in")),
        parse("https://host/sets/photos%20new/").below(Path("in")),
    )
    assert images == table.parent / "photos new"
    for url in ("https://host/../../../etc/passwd", "https://host/%2e%2e/%2E%2E/etc/passwd", "https://../etc/passwd"):
        assert ".." not in parse(url).below(Path("in")).parts
    assert parse("https://host").name == "host"


def test_file_url_is_a_path_here() -> None:
    assert local("file:///data/my%20pets") == local("file://localhost/data/my%20pets") == "/data/my pets"
    assert local("https://host/pets") is local("data/pets") is None
    with pytest.raises(ValueError, match="three slashes"):
        local("file://data/pets")


@pytest.mark.parametrize("value", ["photos", "keras:cifar10", "sample:digits", "./a://b", "C:/pets", "a b://c"])
def test_paths_and_names_are_no_urls(value: str) -> None:
    assert not is_url(value)
