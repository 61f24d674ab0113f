"""Vectors are read in blocks: the peak of memory is the result and a block."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import matrix_files
from pipeline.artifacts.vectors import read_vectors
from tests.pools import peak_bytes


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_peak_of_memory_is_the_result_and_a_block(monkeypatch, order, tmp_path):
    monkeypatch.setattr(matrix_files, "BLOCK_BYTES", 1 << 18)
    np.save(tmp_path / "x.npy", np.zeros((50_000, 16), order=order))  # 6.4 MB; 3.2 MB as float32
    assert 3.2e6 < peak_bytes(lambda: read_vectors(tmp_path / "x.npy")) < 3.2e6 + 4 * (1 << 18)


def test_a_table_is_read_in_pieces_though_all_of_it_is_one_group_of_rows(monkeypatch, tmp_path):
    numbers = np.random.default_rng(0).normal(size=100_000 * 16)  # 12.8 MB
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers), 16)
    pq.write_table(pa.table({"vector": vectors}), tmp_path / "x.parquet")
    monkeypatch.setattr(matrix_files, "BLOCK_BYTES", 1 << 20)
    before, held, batches = pa.total_allocated_bytes(), [], pq.ParquetFile.iter_batches

    def spy(*given, **options):
        for batch in batches(*given, **options):
            held.append(pa.total_allocated_bytes() - before)
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    assert read_vectors(tmp_path / "x.parquet")[-1, -1] == np.float32(numbers[-1])
    assert len(held) > 10
    assert max(held) < 5 << 20
