#!/usr/bin/env python3
"""Makes the Parquet files here: copies of the logs beside them, and one table of every type in every form of pages.

Needs pyarrow and duckdb. What is here was written by pyarrow 26.0.1 and DuckDB 2.0.1; other versions write other bytes, and the same rows.
"""

import csv
import datetime as dt
import decimal
import json
import math
import pathlib
import uuid

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).resolve().parent
LOGS = HERE.parent


def objects(path):
    """The lines that are objects of JSON."""
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            pass


def held(value):
    """A value without objects that have no member, which Parquet does not have."""
    if isinstance(value, dict):
        return {key: held(v) for key, v in value.items()} or None
    return [held(v) for v in value] if isinstance(value, list) else value


def table(rows):
    """Rows of whatever keys, each column of the type that its values have."""
    rows = [held(row) for row in rows]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    columns = {}
    for key in keys:
        values = [row.get(key) for row in rows]
        try:
            columns[key] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            # Numbers that are written as texts now and then.
            columns[key] = pa.array([None if v is None else str(v) for v in values])
    return pa.table(columns)


def types(n=120):
    """Every type, and what a reader of JSON has to find."""
    rows = range(n)
    every = lambda k, f: [None if i % k == 1 else f(i) for i in rows]  # noqa: E731
    at = lambda i: dt.datetime(2026, 11, 22, 10, 0, 0, tzinfo=dt.timezone.utc) + dt.timedelta(microseconds=i * 1_234_567)  # noqa: E731
    columns, want = {}, {}

    def add(name, kind, values, text=lambda v: v):
        columns[name] = pa.array(values, kind)
        want[name] = [None if v is None else text(v) for v in values]

    def stamp(v):
        micro = v.strftime("%Y-%m-%dT%H:%M:%S.%f")
        return (micro[:-3] if micro.endswith("000") else micro) + "Z"

    add("row", pa.int64(), list(rows))
    add("flag", pa.bool_(), every(5, lambda i: i % 3 == 0))
    add("runs", pa.bool_(), [i < n // 2 for i in rows])
    add("small", pa.int8(), every(7, lambda i: i % 200 - 100))
    add("unsigned", pa.uint64(), every(11, lambda i: 2**64 - 1 - i))
    add("unsigned32", pa.uint32(), every(11, lambda i: 2**32 - 1 - i))
    add("int32", pa.int32(), every(3, lambda i: (-1) ** i * i * 7_000_003))
    add("int64", pa.int64(), every(3, lambda i: (-1) ** i * i * 30_000_000_000_000_003))
    add("float", pa.float32(), every(4, lambda i: i / 8))
    add("double", pa.float64(), every(4, lambda i: i / 3))
    add("odd", pa.float64(), [[math.nan, math.inf, -math.inf][i % 3] for i in rows], lambda v: "NaN" if math.isnan(v) else "inf" if v > 0 else "-inf")
    add("half", pa.float16(), every(6, lambda i: i / 4))
    add("text", pa.string(), every(9, lambda i: f'/v1/items/{i}?"q"=\\{chr(i % 0x250 + 1)}' + "x" * (i % 40)))
    add("few", pa.string(), every(2, lambda i: ["GET", "POST", "-"][i % 3]))
    add("bytes", pa.binary(), every(8, lambda i: b"\xff\x00" * (i % 4)), lambda v: "0x" + v.hex() if v else "")
    add("fixed", pa.binary(4), every(8, lambda i: i.to_bytes(4, "big")), lambda v: "0x" + v.hex())
    add("uuid", pa.uuid(), every(8, lambda i: uuid.UUID(int=i * 2**100).bytes), lambda v: str(uuid.UUID(bytes=v)))
    add("price", pa.decimal128(9, 2), every(8, lambda i: decimal.Decimal(i - 150) / 4), lambda v: float(v))
    add("wide", pa.decimal128(38, 3), every(8, lambda i: decimal.Decimal(i - 150) * 1000), lambda v: float(v))
    add("day", pa.date32(), every(8, lambda i: dt.date(1969, 12, 1) + dt.timedelta(days=i * 77)), lambda v: v.isoformat())
    add("clock", pa.time64("us"), every(8, lambda i: dt.time(i % 24, i % 60, 1, 1000 * (i % 9))), lambda v: v.isoformat("milliseconds"))
    for unit in ("ms", "us", "ns"):
        cut = 1000 if unit == "ms" else 1
        add(f"at_{unit}", pa.timestamp(unit, "UTC"), every(13, lambda i: at(i) - dt.timedelta(microseconds=at(i).microsecond % cut)), stamp)
    add("local", pa.timestamp("us"), every(13, lambda i: at(i).replace(tzinfo=None)), stamp)
    add("never", pa.string(), [None] * n)
    add("list", pa.list_(pa.string()), every(5, lambda i: [None if j % 4 == 3 else f"k8s:app={j}" for j in range(i % 6)]))
    add("lists", pa.list_(pa.list_(pa.int32())), every(5, lambda i: [[k for k in range(j)] for j in range(i % 4)]))
    add("struct", pa.struct([("a", pa.int32()), ("b.c", pa.struct([("d", pa.string())]))]), every(6, lambda i: {"a": i if i % 4 else None, "b.c": {"d": str(i)} if i % 3 else None}))
    add("structs", pa.list_(pa.struct([("name", pa.string()), ("tags", pa.list_(pa.int64()))])), every(7, lambda i: [{"name": f"n{j}", "tags": list(range(j))} for j in range(i % 5)]))
    add("map", pa.map_(pa.string(), pa.int32()), every(7, lambda i: [(f"k{j}", j if j % 3 else None) for j in range(i % 4)]), dict)
    return pa.table(columns), [{name: want[name][i] for name in want} for i in rows]


def write(name, tab, **options):
    pq.write_table(tab, HERE / name, **options)


def main():
    istio = table(list(objects(LOGS / "istio/access.json")))
    write("istio.parquet", istio, row_group_size=40, compression="snappy")
    duckdb.sql(
        f"copy (select * from read_json('{LOGS}/istio/access.json', format='newline_delimited', ignore_errors=true, sample_size=-1) "
        f"where start_time is not null) to '{HERE}/istio-duckdb.parquet' (format parquet, codec zstd)"
    )
    write("hubble.parquet", table(list(objects(LOGS / "hubble/hipstershop.jsonl"))), compression="gzip", data_page_version="2.0")
    write("opa.parquet", table(list(objects(LOGS / "opa/decisions.jsonl"))), compression="zstd")
    with open(LOGS / "mapped/flows.csv", newline="") as file:
        write("flows.parquet", table(list(csv.DictReader(file, delimiter=";"))), compression="none")

    tab, want = types()
    (HERE / "types.ndjson").write_text("".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in want))
    write("types-v1-snappy.parquet", tab, compression="snappy", row_group_size=50, write_page_checksum=True)
    write("types-v2-gzip.parquet", tab, compression="gzip", use_dictionary=False, data_page_version="2.0", data_page_size=256, write_batch_size=16, write_page_checksum=True)
    write("types-v1-none.parquet", tab, compression="none", use_dictionary=False)
    delta = {name: "DELTA_BINARY_PACKED" for name in ("row", "small", "unsigned", "int32", "int64", "at_us", "day")}
    delta |= {"text": "DELTA_BYTE_ARRAY", "few": "DELTA_LENGTH_BYTE_ARRAY", "bytes": "DELTA_LENGTH_BYTE_ARRAY", "fixed": "DELTA_BYTE_ARRAY", "never": "DELTA_BYTE_ARRAY"}
    delta |= {"float": "BYTE_STREAM_SPLIT", "double": "BYTE_STREAM_SPLIT", "uuid": "BYTE_STREAM_SPLIT", "runs": "RLE", "flag": "RLE", "clock": "BYTE_STREAM_SPLIT"}
    write("types-v2-zstd.parquet", tab, compression="zstd", use_dictionary=False, column_encoding=delta, data_page_version="2.0", data_page_size=1024, write_batch_size=32)
    write("types-int96.parquet", tab.select(["row", "at_ms", "at_us", "local", "few"]), use_deprecated_int96_timestamps=True)
    duckdb.sql(f"copy (select * from read_parquet('{HERE}/types-v1-none.parquet')) to '{HERE}/types-duckdb.parquet' (format parquet, codec snappy, parquet_version v2)")


if __name__ == "__main__":
    main()
