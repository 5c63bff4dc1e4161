"""CSV files as people have them: how they are written, and what is refused, in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from ornstein.data import Dataset, open_data, report
from ornstein.data.tables import Table, like_items, read_text
from ornstein.errors import DataError, UsageError

Open = Callable[..., Dataset]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Open the text of a table."""

    def write(
        text: str | bytes, columns: Mapping[str, str] | None = None, label: str | None = None
    ) -> Dataset:
        path = tmp_path / "t.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return open_data(path, columns=columns, label=label)

    return write


def types(data: Dataset) -> list[str]:
    assert isinstance(data.coding, Table)
    return [column.type for column in data.coding.columns]


PLAIN = "a,b\n" + "".join(f"{k},{k / 4}\n" for k in (5, 1, 8, 2))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";").replace(".", ","),
        PLAIN.replace("5,1.25", '"5","1.25"'),
        PLAIN.replace("\n", "\n\n"),
        PLAIN.replace(",", " , "),
        PLAIN.encode("utf-16"),
    ],
    ids=["BOM", "CRLF", "semicolon", "tab", "comma", "quotes", "blank", "spaces", "UTF-16"],
)
def test_the_same_numbers_are_read_however_they_are_written(
    text: str | bytes, opened: Open
) -> None:
    data = opened(text)
    assert data.items.tolist() == [[5, 1.25], [1, 0.25], [8, 2], [2, 0.5]]
    assert data.coding.captions == ("a", "b")


def test_commas_between_digits_are_decimal_where_semicolons_are_as_even(tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    path.write_text("1,5;2,5\n3,5;4,5\n5,25;6,75\n")
    text = read_text(path)
    assert (text.style.separator, text.header) == (";", None)
    assert text.rows == [["1,5", "2,5"], ["3,5", "4,5"], ["5,25", "6,75"]]


def test_bytes_that_are_not_utf_8_are_windows_1252(tmp_path: Path) -> None:
    """The table of the WHATWG encoding standard; 128 to 159 were control characters."""
    upper = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ"
    path = tmp_path / "x.csv"
    path.write_bytes(b"".join(b"%c,%d\n" % (k, k) for k in (97, *range(128, 256))))
    text = read_text(path)
    got = [*text.rows] if text.header is None else [list(text.header), *text.rows]
    assert [row[0] for row in got[1:33]] == list(upper)
    assert [row[0] or "\xa0" for row in got[33:]] == [chr(k) for k in range(160, 256)]


def test_half_a_letter_of_utf_16_is_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("a,b\n1,x".encode("utf-16") + b"\0\xd8")
    assert read_text(tmp_path / "x.csv").rows == [["1", "x\ufffd"]]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_a_letter_is_the_same_wherever_it_stands_in_a_long_file(
    encoding: str, tmp_path: Path
) -> None:
    """A file is read piece by piece, and no piece ends where a letter does."""
    path = tmp_path / "long.csv"
    for shift in "x", "xx":
        rows = [[f"{shift}é", "é" * 300], *([f"ü{k}", "é" * 300] for k in range(500))]
        path.write_bytes("\r\n".join(map(",".join, rows)).encode(encoding))
        text = read_text(path)
        assert [list(text.header or ()), *text.rows] == rows
        assert text.style.newline == "\r\n"


@pytest.mark.parametrize("begins", ["a,b\n", "a,é\n"])
def test_a_nul_byte_far_down_is_seen(begins: str, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(begins.encode("latin-1") + b"1,2\n" * 50_000 + b"1,\0\n")
    with pytest.raises(DataError, match="NUL bytes"):
        read_text(path)


def test_a_table_may_come_through_a_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(PLAIN.encode())
    assert read_text(Path(f"/dev/fd/{reader}")).rows[0] == ["5", "1.25"]
    os.close(reader)


def test_days_come_first_where_months_could_as_well(opened: Open) -> None:
    data = opened("d,x\n03/04/2021,1\n05/06/2021,2\n11/12/2021,7\n")
    third_of_april = np.datetime64("2021-04-03", "s").astype(float)
    assert data.items[0, 0] == third_of_april


def test_samples_are_written_as_the_file_was(opened: Open) -> None:
    data = opened("Größe;Tag;n\r\n" + "1,50;03.04.2021;7\r\n2,25;30.11.2020;5\r\n" * 3)
    (text,) = data.coding.files(data.items[:1], "x").values()
    assert text.decode() == "Größe;Tag;n\r\n1,50;03.04.2021;7\r\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n1,2,3\n", r"line 3 has 3 cells, but the first line has 2"),
        ("a,b\n1\n", r"line 2 has 1 cells"),
        ("a,a\n1,2\n", r"two columns called 'a'"),
        ("", "is empty"),
        ("a,b\n", "no rows"),
        (b"a\0b\n", "NUL bytes"),
        ("a,b\n1," + "x" * (1 << 21), "line 2 cannot be read as CSV"),
        ("a\n" + "1\n" * 15 + "abc\n", r"line 17: 'abc' .* is not a number .*as the other 15"),
        ("a\n" + "1\n2\n" + "inf\n", r"line 4: 'inf' in column 'a' is not a number"),
        ("a\n" + "1\n2\n" + "1e301\n", r"line 4: '1e301' .* up to 1e300"),
        ("a\n" + "2020-01-02\n" * 15 + "2020-13-01\n", r"line 17: '2020-13-01' .* not a date"),
        ("a,b\n1,1\n1,1\n", "no column to learn"),
        ("a,b\n1,x\n", "no column to learn: all are constant"),
        ("a\n" + "\n".join(f"text {k}" for k in range(30)), "no column to learn"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_line(
    text: str | bytes, words: str, opened: Open
) -> None:
    with pytest.raises(DataError, match=words):
        opened(text)


@pytest.mark.parametrize(
    ("cells", "type_"),
    [
        (["01234", "99123", "04109"], "category"),
        (["1e+300", "-1e+300"], "number"),
        (["1", "2", "XL", "M"], "category"),
        (["1.5", "", "2.5"], "number"),
        (["1.5", "nan", "2.5"], "number"),
        (["True", "False", "True"], "boolean"),
        (["0", "1", "1"], "boolean"),
        (["12:30", "09:15", "00:00"], "date"),
        (["2021-03-04T10:00:00Z", "2021-03-04T10:00:01Z"], "date"),
        (["04/13/2021", "01/02/2020"], "date"),
        (["", "", ""], "constant"),
        (["x", "x", "x"], "constant"),
        (["x", "", "x"], "category"),
        (["日本", "中国", "日本"], "category"),
    ],
)
def test_types(cells: list[str], type_: str, opened: Open) -> None:
    data = opened("x,y\n" + "".join(f"{cell},{k * k}\n" for k, cell in enumerate(cells)))
    assert types(data)[0] == type_
    back = data.coding.decode(data.batch(range(len(cells))))
    assert isinstance(data.coding, Table)
    assert [row[0] for row in data.coding.cells(back)] == cells


GAPS = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None"]


@pytest.mark.parametrize("gap", [*GAPS, "?"])
def test_a_gap_is_told_by_any_of_its_usual_texts_and_written_so_again(
    gap: str, opened: Open
) -> None:
    """Those of pandas' read_csv, and the question mark of the UCI tables."""
    for cells, type_ in ((("1", "2", "4"), "integer"), (("x", "y", "x"), "category")):
        rows = [cells[0], gap, *cells[1:]]
        data = opened("v,w\n" + "".join(f"{cell},{k}\n" for k, cell in enumerate(rows)))
        assert types(data)[0] == type_
        assert np.isnan(data.items[:, 0]).tolist() == [False, True, False, False]
        assert isinstance(data.coding, Table)
        assert [row[0] for row in data.coding.cells(data.items)] == rows


def test_columns_in_another_order_are_read_by_their_names(opened: Open, tmp_path: Path) -> None:
    coding = opened("a,b,c\n1,10,x\n2,20,y\n3,30,x\n").coding
    assert isinstance(coding, Table)
    path = tmp_path / "turned.csv"
    path.write_text("c,a,b\ny,3,10\n")
    assert coding.cells(like_items(read_text(path), coding)) == [["3", "10", "y"]]


def test_identifiers_are_left_out_with_a_note(opened: Open) -> None:
    rows = [f"{k},name {k},{k % 7}" for k in range(1, 60)]
    data = opened("id,who,x\n" + "\n".join(rows))
    assert types(data) == ["left out", "left out", "integer"]
    said = "\n".join(report(data))
    assert "Column 'id' is left out: it counts the rows." in said
    assert "Column 'who' is left out: 59 different texts in 59 cells" in said
    assert data.coding.files(data.items[:1], "x") == {"x.csv": b"x\n1\n"}


def test_ten_thousand_words_are_codes_when_they_repeat_and_left_out_when_not(
    opened: Open,
) -> None:
    once = "w,x\n" + "".join(f"w{k},{k % 9}\n" for k in range(10_000))
    assert types(opened(once)) == ["left out", "integer"]
    thrice = "w,x\n" + "".join(f"w{k % 4000},{k % 9}\n" for k in range(10_000))
    assert opened(thrice).shape == (13,)


def test_the_owner_has_the_last_word(opened: Open) -> None:
    text = "id,code,day,zip\n" + "".join(
        f"{k},{k % 3},{k % 20 + 1:02d}.03.21,0{k % 9}\n" for k in range(60)
    )
    said = {"id": "number", "code": "category", "day": "date:%d.%m.%y", "zip": "number"}
    assert types(opened(text)) == ["left out", "integer", "category", "category"]
    assert types(opened(text, said)) == ["integer", "category", "date", "integer"]
    assert types(opened(text, {"day": "omit"}))[2] == "left out"
    with pytest.raises(UsageError, match=r"no column 'cod'. Did you mean 'code'"):
        opened(text, {"cod": "number"})
    with pytest.raises(UsageError, match=r"column 'code' cannot be 'float'; say one of number"):
        opened(text, {"code": "float"})
    with pytest.raises(DataError, match=r"line 2: '01.03.21' in column 'day' is not a number"):
        opened(text, {"day": "number"})


def test_a_label_is_the_class_and_no_code(opened: Open) -> None:
    data = opened("a,sort\n1,x\n2,y\n5,x\n", label="sort")
    assert (data.shape, data.classes) == ((1,), ("x", "y"))
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 0]
    raw = data.coding.labelled(data.coding.decode(data.batch([0, 1])), [1, 0])
    assert data.coding.files(raw, "x") == {"x.csv": b"a,sort\n1,y\n2,x\n"}
    with pytest.raises(DataError, match="has empty cells, so it cannot be the label"):
        opened("a,sort\n1,x\n2,\n", label="sort")
    with pytest.raises(UsageError, match="no column 'kind'"):
        opened("a,sort\n1,x\n", label="kind")


def test_equal_tables_have_equal_fingerprints_and_other_words_do_not(opened: Open) -> None:
    text = "a,b\n1,x\n2,y\n5,x\n"
    one = opened(text).fingerprint
    assert opened(text).fingerprint == one
    assert opened(text.replace("x", "z")).fingerprint != one
    assert opened(text.replace("a,b", "a,c")).fingerprint != one


def test_the_report_is_a_line_for_each_column(opened: Open) -> None:
    data = opened("age,town\n30,Ulm\n,Ulm\n40,Bonn\n")
    lines = report(data)
    assert lines[0] == "t: 3 rows of 2 columns, 3 codes each"
    assert [line.split() for line in lines[-2:]] == [
        ["age", "integer", "1", "2", "2", "30", "to", "40"],
        ["town", "category", "0", "2", "1", "Ulm,", "Bonn"],
    ]


def test_numbers_between_those_that_come_often_have_codes_too(opened: Open) -> None:
    """The map rises everywhere, also where none of the numbers lie that it was measured on."""
    data = opened("a\n" + "0\n10\n11\n" * 50)
    rows = np.arange(0.0, 12.0)[:, None]
    assert (data.coding.decode(data.coding.encode(rows)) == rows).all()
