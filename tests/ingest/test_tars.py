import tarfile
from io import BytesIO

import pytest

from pipeline.base.files import sha256
from pipeline.ingest.tars import write_tar


@pytest.mark.parametrize("sizes", [(), (0,), (1, 512, 513), range(0, 12_000, 700)])
def test_a_tar_is_as_the_standard_library_writes_it(tmp_path, sizes):
    images = [(f"{number:020x}", bytes([number]) * size, "webp") for number, size in enumerate(sizes)]
    expected = BytesIO()
    with tarfile.open(fileobj=expected, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, data, extension in images:
            member = tarfile.TarInfo(f"{key}.{extension}")
            member.size = len(data)
            tar.addfile(member, BytesIO(data))
    file = tmp_path / "x.tar"
    shard, rows = write_tar(images, file, "train")
    assert file.read_bytes() == expected.getvalue()
    assert (shard.bytes, shard.sha256, shard.count) == (len(expected.getvalue()), sha256(file), len(images))
    assert [file.read_bytes()[row.offset : row.offset + row.size] for row in rows] == [data for _, data, _ in images]
