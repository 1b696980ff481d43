import time

import pytest

from embed_assets.corpus.encodings import SAMPLE, BinaryDataError, composed, decode

GERMAN = "Die Größe der Pumpe ist für uns „wichtig“."


@pytest.mark.parametrize(
    ("text", "saved_as", "read_as"),
    [
        (GERMAN, "utf-8", ""),
        (GERMAN, "utf-8-sig", ""),
        (GERMAN, "utf-16", "utf-16-le"),
        (GERMAN, "utf-32", "utf-32-le"),
        (GERMAN, "utf-16-le", "utf-16-le"),
        (GERMAN, "windows-1252", "windows-1252"),
        ("電源を切ってからファンを交換してください。", "shift_jis", "shift_jis"),
        ("Выключите питание перед заменой вентилятора.", "windows-1251", "windows-1251"),
        ("Před výměnou ventilátoru vypněte napájení.", "windows-1250", "windows-1250"),
        ("請先關閉電源，再更換風扇。濾網堵塞時壓力會升高。", "big5", "big5"),
        ("افصل التيار قبل استبدال المروحة.", "windows-1256", "windows-1256"),
        ("ปิดเครื่องก่อนเปลี่ยนพัดลม ล้างตัวกรองทุกเดือน", "cp874", "cp874"),
        ("Привет всем", "windows-1251", "windows-1251"),
        ("产品说明书第一章", "gbk", "gb18030"),
        ("안녕하세요", "euc_kr", "euc-kr"),
        ("שלום לכולם", "windows-1255", "windows-1255"),
        ("電源を切ってからファンを交換してください。", "iso2022_jp", "iso2022_jp"),
        ("電源を切ってからファンを交換してください。\n", "utf-16-le", "utf-16-le"),
        ("Выключите питание перед заменой.", "utf-16-be", "utf-16-be"),
        ("Größe der Änderung über das Ölgerät, natürlich für Geräte.", "cp850", "cp850"),
        ("Größe der Änderung über das Ölgerät, natürlich für Geräte.", "mac_roman", "mac_roman"),
        ("Naša hiša je najlepša, še lepša od vaše šole.", "windows-1250", "windows-1250"),
        ("Naš šef još traži školu, ali piše poruku.", "windows-1250", "windows-1250"),
        ("Kľúč je v skrinke, môžete ho použiť, ak ľavé koleso nejde.", "windows-1250", "windows-1250"),
        ("Vänd på filtret. Håll fläkten ren, för säkerhets skull.", "mac_roman", "mac_roman"),
        ("A ação não é fácil: o coração do irmão, avós e pães.", "mac_roman", "mac_roman"),
        ("Perché è così? La città è più bella, può darsi.", "cp850", "cp850"),
        ("Rødgrød på øen er sød og billig, så vi får det.", "cp850", "cp850"),
        ("Copyright © 2010 Müller GmbH. © Müller, © Öl. Use at 20 °C.", "cp850", "cp850"),
        ("Przed wymianą filtra wyłącz zasilanie pompy i zamknij zawór.", "cp852", "cp852"),
        ("Před výměnou filtru vypněte čerpadlo a zavřete ventil.", "cp852", "cp852"),
        ("Filtreyi değiştirmeden önce pompayı kapatın, sonra ışığa bakın.", "cp857", "cp857"),
        ("Ein Filter kostet 12 € und wird jährlich gewechselt.", "iso8859-15", "iso8859-15"),
        ("Remplacez le filtre à huile. Le cœur de la pompe est cassé.", "iso8859-15", "iso8859-15"),
        ("Ein Rohr von 3½ Zoll, ¼Zoll und 1½“ kostet viel für Öl", "windows-1252", "windows-1252"),
        ("setÄnderung() über getÖffnung(): Größe für Räder", "windows-1252", "windows-1252"),
        ("Le problème est réglé\u2026voilà, l\u2019été d\u2019après\u2026enfin.", "windows-1252", "windows-1252"),
        ("a×b and c×d, e÷f, wie Straße und §3a§4b", "windows-1252", "windows-1252"),
    ],
)
def test_text_is_read_in_the_encoding_it_was_saved_in(text, saved_as, read_as):
    assert decode(text.encode(saved_as)) == (text, read_as)


@pytest.mark.parametrize(
    "text", [GERMAN, "Größe über", "“Smart” — l’été à Noël", "The pump – the old one – is broken.", "• a\n• b", "5 × 3 → 15 £"]
)
def test_text_that_was_encoded_twice_is_read_as_it_was_meant(text):
    assert decode(text.encode().decode("latin-1").encode()) == (text, "utf-8, encoded twice")
    assert decode("Ã¼ber die GrÃ¶ÃŸe â€“ fÃ¼r alle".encode())[0] == "über die Größe – für alle"


@pytest.mark.parametrize("sign", "®™…’”")
def test_a_sign_behind_a_capital_with_an_accent_is_no_text_encoded_twice(sign):
    text = f"NESCAFÉ{sign} is coffee. Buy NESCAFÉ{sign} here."
    assert decode(text.encode()) == (text, "")
    assert decode(text.replace("É", "Ö").encode()) == (text.replace("É", "Ö"), "")


@pytest.mark.parametrize("text", ["If Ã¤, Ã¶ or Ã¼ appear in the export, it was read as latin-1.", "Look for â€™ and 'Ã©'."])
def test_signs_of_text_encoded_twice_that_are_only_named_stay(text):
    assert decode(text.encode()) == (text, "")


def test_letters_that_look_like_those_of_text_encoded_twice_stay():
    assert decode("Â© 2024 für alle, und Ã ist ein Buchstabe".encode()) == ("Â© 2024 für alle, und Ã ist ein Buchstabe", "")


@pytest.mark.parametrize("end", ["\x1a", "\0" * 500, "\r\n\x1a\0"])
def test_what_dos_or_a_crash_left_at_the_end_of_a_file_costs_nothing(end):
    assert decode(f"Open the valve.{end}".encode())[0].strip() == "Open the valve."


def test_a_few_control_characters_are_no_reason_to_lose_a_short_text():
    assert decode(b"The \0lter is full.") == ("The lter is full.", "")


def test_labels_mean_what_browsers_take_them_for():
    assert decode("„Größe“ €".encode("windows-1252"), "iso-8859-1") == ("„Größe“ €", "windows-1252")


def test_one_bad_byte_of_a_page_that_says_utf8_costs_one_character():
    assert decode(("Größe " * 200).encode() + b"\xff", "utf-8") == ("Größe " * 200 + "\ufffd", "")


@pytest.mark.parametrize(
    ("text", "declared", "read_as"),
    [
        ("ปิดเครื่อง once", "cp874", "cp874"),
        ("Выключите питание", "mac_cyrillic", "mac-cyrillic"),
        ("请先关闭电源", "hz-gb-2312", "hz"),
        ("Größe", "utf-7", "utf-7"),
    ],
)
def test_names_of_encodings_that_browsers_do_not_know_hold_as_well(text, declared, read_as):
    assert decode(text.encode(declared), declared) == (text, read_as)


@pytest.mark.parametrize("declared", ["rot13", "base64_codec", "zlib_codec", "unicode_escape", "undefined", "utf-7\0", "none"])
def test_what_is_no_encoding_of_text_is_passed_over(declared):
    assert decode("Größe 3".encode("windows-1252"), declared) == ("Größe 3", "windows-1252")


@pytest.mark.parametrize("content", [b"\x00\x01\x02" * 20, b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256))])
def test_binary_data_is_no_text(content):
    with pytest.raises(BinaryDataError):
        decode(content)


def test_the_bold_letters_of_a_printed_manual_page_are_no_binary_data():
    page = "N\x08NA\x08AM\x08ME\x08E\n   fan - turn it\n"
    assert decode(page.encode()) == (page, "")


def test_a_zero_byte_in_a_long_text_costs_no_more_than_itself():
    assert decode(f"The fan \0rattles. {GERMAN * 5}".encode()) == (f"The fan rattles. {GERMAN * 5}", "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "windows-1252"])
def test_lines_end_as_they_do_elsewhere(encoding):
    assert decode("Größe\r\n| a |\r\n".encode(encoding))[0] == "Größe\n| a |\n"
    assert decode("Größe\r| a |\r".encode(encoding))[0] == "Größe\n| a |\n"


def test_text_is_composed_and_holds_no_nul():
    assert composed("Gro\u0308ße\0 e\u0301") == "Größe é"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("firm\u00adware of MAX_\u200bRETRY_\u200bCOUNT\ufeff", "firmware of MAX_RETRY_COUNT"),
        ("ភាសា\u200bខ្មែរ\u200b", "ភាសា\u200bខ្មែរ"),
        ("Po\u00ad\n  litik \u00ad\n\n and", "Politik \n\n and"),
        ("\u202eabc\u202c \u2066x\u2069 \u200ey", "abc x y"),
        ("Fan\U000e0049\U000e0067\U000e006e tray a\ufe01\U000e0101\ufe03b", "Fan tray ab"),
        ("N\x08NA\x08AM\x08ME\x08E _\x08o_\x08f", "NAME of"),
        ("\x1b[1mPump\x1b(B\x1b[m runs\x1b]0;title\nV", "Pump runs]0;title\nV"),
        ("soft\u00ad\nware\u00ad\n2. Step", "software\n2. Step"),
        (
            "\u0e20\u0e32\u0e29\u0e32\u200bPython\u200b\u0e20 no\u200bwhere",
            "\u0e20\u0e32\u0e29\u0e32\u200bPython\u200b\u0e20 nowhere",
        ),
        ("\x1b[1;31mERROR\x1b[0m at 5 \x1b]0;title\x07V\x07", "ERROR at 5 V"),
        ("don\x92t \x93open\x94 it", "don’t “open” it"),
        ("Auf\u200clage, re\u200dset", "Auflage, reset"),
        ("設備ＰＸ－７を１２．５に，Ｗｉｎｄｏｗｓ　１１、東京／大阪。", "設備PX-7を12.5に，Windows\u300011、東京／大阪。"),
        ("CVE\u20112024\u20111234 co\u2010op 3\u20135 \u22122 PX\u22127", "CVE-2024-1234 co-op 3\u20135 \u22122 PX-7"),
        ("\u0e19\u0e4d\u0e49\u0e32 \u0e97\u0e4d\u0e32 \u0e99\u0ecd\u0eb2", "\u0e19\u0e49\u0e33 \u0e97\u0e33 \u0e99\u0eb3"),
    ],
)
def test_what_nobody_sees_is_left_out(text, seen):
    assert composed(text) == seen


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم",  # without the joiner it is written otherwise
        "क्\u200dष",
        "👩\u200d🔧 ❤\ufe0f\u200d🔥",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # the flag of England
        "葛\U000e0100",
        "a\tb\r\nc\x0bd\x0ce\x85f",
    ],
)
def test_what_changes_how_a_text_looks_stays(text):
    assert composed(text) == text


@pytest.mark.parametrize("part", ["\x1b]", "\x1b[0", "a\u200c", "\xad \n ", "\U0001f3f4", "\U0001f3f4\U000e0020", "\ufe00"])
def test_many_unseen_characters_take_linear_time(part):
    def seconds(number: int) -> float:
        started = time.process_time()
        composed(part * number)
        return time.process_time() - started

    seconds(1000)
    assert seconds(200_000) < 30 * max(seconds(20_000), 0.001)


def test_parts_in_another_encoding_cost_nothing_of_a_text_in_utf8():
    mixed = "Die Größe der Pumpe übertrifft alles.\n".encode() + "Das Gerät\n".encode("windows-1252")
    assert decode(mixed) == ("Die Größe der Pumpe übertrifft alles.\nDas Gerät\n", "utf-8 and windows-1252")
    halves = "Größe über „alles“\n".encode() + "Gerät, Öl, Übermaß".encode("windows-1252")
    assert decode(halves) == ("Größe über „alles“\nGerät, Öl, Übermaß", "utf-8 and windows-1252")


def test_what_a_page_says_of_its_encoding_holds_where_its_first_megabyte_is_ascii():
    text = " " * SAMPLE + "電源を切る"
    assert decode(text.encode("shift_jis"), "shift_jis") == (text, "shift_jis")
