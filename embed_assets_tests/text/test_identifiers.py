import random
import time

import pytest
import regex
from pydantic import ValidationError

from embed_assets.artifacts.blocks import SettingsError
from embed_assets.text import identifiers
from embed_assets.text.identifiers import LONGEST_IDENTIFIER, find_identifiers, holds_identifier, places_of
from embed_assets.text.settings import IdentifierSettings

WHOLE = r"(?<![\p{Latin}\p{Nd}_])%s(?![\p{Latin}\p{Nd}_])"


@pytest.mark.parametrize(
    ("text", "identifiers"),
    [
        ("NX-OS 9.3(10), IOS 15.2(7)E3 and 7.0(3)I7(5).", ["NX-OS", "9.3(10)", "15.2(7)E3", "7.0(3)I7(5)"]),
        ("Junos 20.4R3-S2, ESXi 8.0U2, v2.0-rc1 and 10.3(4a)M", ["20.4R3-S2", "8.0U2", "v2.0-rc1", "10.3(4a)M"]),
        ("shut GigabitEthernet1/0/1, Gi1/0/1.100 and xe-0/0/1", ["GigabitEthernet1/0/1", "Gi1/0/1.100", "xe-0/0/1"]),
        ("Linux 5.15.0-91-generic and 4.18.0-305.el8.x86_64, libssl 1.1.1n-0+deb11u5, 1.4.0-SNAPSHOT",
         ["5.15.0-91-generic", "4.18.0-305.el8.x86_64", "1.1.1n-0+deb11u5", "1.4.0-SNAPSHOT"]),
        ("versions 3.0.1-3.0.7: org.acme:pump-core:3.1.0, com.acme:valve. See server.port: it is 80",
         ["3.0.1", "3.0.7", "org.acme:pump-core:3.1.0", "com.acme:valve", "server.port"]),
        ("RHSA-2024:1234 mends CVE-2024-5678", ["RHSA-2024:1234", "CVE-2024-5678"]),
        ("net.ipv4.ip_forward, vm.swappiness, jpa.ddl-auto.", ["net.ipv4.ip_forward", "vm.swappiness", "jpa.ddl-auto"]),
        ("ÜBER-12, größeWert, müller_konto, ГОСТ-2140", ["ÜBER-12", "größeWert", "müller_konto", "ГОСТ-2140"]),
        ("升级PX-7设备到9.3(10)版本", ["PX-7", "9.3(10)"]),
        ("edit /etc/fstab, see [the page](/docs/pump/oil.md) or https://example.com/a/b", ["/etc/fstab"]),
        ("Gaia R81.20, KX-12.3 and S7-1200.4.", ["R81.20", "KX-12.3", "S7-1200.4"]),
        ("java.lang.NullPointerException in org.acme.Pump$Valve.open(). No.sentence.Here",
         ["java.lang.NullPointerException", "org.acme.Pump$Valve.open"]),
        ("{6F9619FF-8B86-D011-B42D-00CF4FC964FF} or 550e8400-e29b-41d4-a716-446655440000",
         ["6F9619FF-8B86-D011-B42D-00CF4FC964FF", "550e8400-e29b-41d4-a716-446655440000"]),
        ("00:1A:2B:3C:4D:5E, 00-1a-2b-3c-4d-5e, FE80::1, 2001:db8::8a2e:370:7334/64 and 1:2:3:4:5:6:7:8",
         ["00:1A:2B:3C:4D:5E", "00-1a-2b-3c-4d-5e", "FE80::1", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8"]),
        ("At 12:30:45 std::vector, Face::add and a::b of 01-23-45-67-89", []),
        ("see guide.md, e.g. this and/or that. Two sentences.No space.", []),
        ("This line card of the passage above runs at 2.4GHz", []),
        ("5.0 V, 2.4 GHz, 2.4\u00a0GHz, 3.5 %, 1.2 kWh, € 9.90, $4.99, 9.90 EUR, 12.03.2024, dBm, kHz, mmHg, 9.81 m/s", []),
        ("0.05, 0.912, 1,234.56, 1.234,56, Section 3.2, Fig. 3.4, Kapitel 4.5, 10.30 Uhr, 2.4-GHz, 3.5 小时, 2024-01-05", []),
        ("3.8.1,3.8.2, 0.9, 0.0.12, DOI 10.1000/xyz.12, CAS 7732-18-5.",
         ["3.8.1", "3.8.2", "0.9", "0.0.12", "10.1000/xyz.12", "7732-18-5"]),
        ("In 9.3 a GPU, Python 3.12 C API and OpenSSL 3.0 say maxHz", ["9.3", "3.12", "3.0", "maxHz"]),
        ("6ES7214-1AG40-0XB0, 74HC595, 1756-L71 and 001a.2b3c.4d5e",
         ["6ES7214-1AG40-0XB0", "74HC595", "1756-L71", "001a.2b3c.4d5e"]),
        ("CYP2D6, bearing 6205-2RS, bolts M8x40, directive 2014/65/EU", ["CYP2D6", "6205-2RS", "M8x40", "2014/65/EU"]),
        ("H2O, MP3, 2024-2D, 12/24/48 V, 24/7, 1920x1080, 10-5V and 1/2/2024", []),
        ("see A.3.1, B.2 and Appendix C.3.7; firmware R81.20, V.3.1.4 or R.2.10", ["R81.20", "3.1.4", "2.10"]),
        ("120.5V, 512.5M, see S.123, EN 2024, 1.4.2+dfsg-1, 1.36+git4-g77f49~x-2", ["1.4.2+dfsg-1", "1.36+git4-g77f49~x-2"]),
        ("IEEE 802.1X and 802.1Q, X.509, ITU-T G.8275.1; H.264 video of Smith, J.2019 in the U.S.1776",
         ["802.1X", "802.1Q", "X.509", "ITU-T", "G.8275.1", "H.264"]),
        ("DIN EN ISO 9001:2015, ISO/IEC 27001, EN 60601-1-2, RFC 9110, NIST SP 800-53 and SAE J1939",
         ["ISO 9001", "IEC 27001", "EN 60601-1-2", "RFC 9110", "NIST SP 800-53", "J1939"]),
        ("EN 12,5, the RFC 12 of BS 5 and an ISO 100,5", []),
        ("GHSA-jfh8-c2jp-5v3q, TLSv1.3, v1.29.0+k3s1, 10GBASE-T, 100GBASE-LR4, article 10-2345-A",
         ["GHSA-jfh8-c2jp-5v3q", "TLSv1.3", "v1.29.0+k3s1", "10GBASE-T", "100GBASE-LR4", "10-2345-A"]),
        ("NullPointerException, TypeError, SIGSEGV or ECONNREFUSED; an Error, the Exception and EVERY SIGN",
         ["NullPointerException", "TypeError", "SIGSEGV", "ECONNREFUSED"]),
        ("VI ZR 252/19, 2 BvR 1845/18, TCK/2024/0012, 2024/CV/0113; 2 AB 1/2 and 16 A 10/20",
         ["VI ZR 252/19", "2 BvR 1845/18", "TCK/2024/0012", "2024/CV/0113"]),
        ("i-0abcd1234ef567890 and vpc-0a1b2c3d in us-east-1a, eu-central-1, europe-west4; follow-up, north-east 5, a-12345678",
         ["i-0abcd1234ef567890", "vpc-0a1b2c3d", "us-east-1a", "eu-central-1", "europe-west4"]),
        ("PN-EN 1090-2, UNE-EN ISO 14001, ГОСТ Р 52931-2008, ГОСТ Р ИСО 9001-2015, GB/T 19001-2016, JIS B 8301, ISO 105-C06",
         ["PN-EN 1090-2", "UNE-EN ISO 14001", "ГОСТ Р 52931-2008", "ГОСТ Р ИСО 9001-2015", "GB/T 19001-2016", "JIS B 8301",
          "ISO 105-C06"]),
        ("TCVN 7568-1, NBR 5410, ASTM D 4052, UN 1203, ETSI EN 300 019, UIC 505-1, GB 4706.1-2005; 16 GB 3200, a KS 5",
         ["TCVN 7568-1", "NBR 5410", "ASTM D 4052", "UN 1203", "ETSI EN 300 019", "UIC 505-1", "GB 4706.1-2005"]),
        ("дело А40-12345/2023, 44-ФЗ, I ACa 12/20, ν. 4412/2016, Ν.4412/2016, Lei 8.078/1990, 123/2020/NĐ-CP; RS-232, 05/2023",
         ["А40-12345/2023", "44-ФЗ", "I ACa 12/20", "4412/2016", "8.078/1990", "123/2020/NĐ-CP", "RS-232"]),
        ("依（2020）最高法民终123号，사건 2019다12345, 2020고합123은 2024년5월, 5001234-56.2020.4.04.7000, n° 19-12.345",
         ["（2020）最高法民终123号", "2019다12345", "2020고합123", "5001234-56.2020.4.04.7000"]),
        ("EBA/GL/2020/06, *151#, EMA/CHMP/12345/2020, pacs.008.001.08, *#06#, GB29 NWBK 6016 1331 9268 19",
         ["EBA/GL/2020/06", "*151#", "EMA/CHMP/12345/2020", "pacs.008.001.08", "*#06#", "GB29 NWBK 6016 1331 9268 19"]),
        ("205/55 R16 91V, 195/65R15, 1K0 615 301 AA, 06A 115 561 B, WVWZZZ1KZAW000001, 58101-3SA20; AB12 CODE WORD TEXT 5",
         ["205/55 R16 91V", "195/65R15", "1K0 615 301 AA", "06A 115 561 B", "WVWZZZ1KZAW000001", "58101-3SA20", "AB12"]),
        ("step 1500/2000, 512/2048 MB, 1200/2010 km; RAM 16 GB 512 GB SSD; Atlanta, GA 30301; of the UN 193; RAL 9005 100 pieces",
         ["RAL 9005"]),
        ("12V 100 200, 10A 250 125, 10001-FIRST, **10#**, pain.200; CNS 2019, UNE 2024", []),
        ("WPA2/WPA3-SAE, MD5/SHA-256, WI-FI/24, jdk-11-11.0.2, libs.3.8.1, 10-2345.6 of JB 4708-2000 and GB 50016",
         ["WPA3-SAE", "SHA-256", "WI-FI", "11.0.2", "3.8.1", "JB 4708-2000", "GB 50016"]),
        ("1E10, #00FF00, %3A23, 2024-10-19T00:18:05, 2024-Q1, 12V-24V, 100-240V, 24-HOUR and 10-K", []),
    ],
)  # fmt: skip
def test_identifiers_are_found_whole(text, identifiers):
    assert find_identifiers(text) == identifiers


UNITS = [
    "AB1C",
    "205-2",
    "A",
    "Ä",
    "AB-",
    "a_",
    "1.",
    "aB",
    "9.3(",
    "(1)",
    "A1/",
    "--a",
    "a.",
    "/a",
    "AA-",
    "AA:",
    "1a::",
    "aa.",
    "7.0(3)I7",
    "1.1.1-1-",
    "a.a:a.",
    "A ",
    "1.1 ",
    "A-A ",
    "a.a ",
    "0A00",
    "1,",
    "1,234.56,",
    "10-10-1 ",
    "10.1000/",
    "table 1.1 ",
    "0.0",
    "1A-",
    "100-A1",
    "2.4 ",
    "$ ",
    "Aa",
    "ISO ",
    "ISO 100",
    "100-",
    "a-0",
    "a-1a",
    "GHSA-aaaa",
    "1.1+a.",
    "AA/2000/",
    "AB-1/20",
    "1/2020/A-",
    "AA/AA/100",
    "(2020)高1",
    "2020가",
    "AA00 0000 ",
    "AAAA ",
    "1A1 100 ",
    "100/20 R",
    "10000-1A",
    "1000000-11.",
    "EN 100-A",
    "GB/T 100.",
    "*10*1",
    "ГОСТ Р ",
    "pacs.",
    "10G",
]


@pytest.mark.parametrize("unit", UNITS)
def test_time_is_linear_in_the_text(unit):
    start = time.process_time()
    find_identifiers(unit * (100_000 // len(unit)))
    # A pattern that began anew at every character took minutes.
    assert time.process_time() - start < 3


def test_the_patterns_of_a_collection_take_linear_time_too():
    start = time.process_time()
    assert find_identifiers("A" * 100_000 + " X-1", [r"[A-Z]+-\d+"]) == ["X-1"]
    assert time.process_time() - start < 3
    longest = "A" * (LONGEST_IDENTIFIER - 2) + "-1"
    assert find_identifiers(f"see {longest}") == [longest]


def test_blanks_are_no_identifier():
    assert find_identifiers("a X-1 b", [r"\s|X-\d"]) == ["X-1"]


def test_an_identifier_is_held_as_a_whole_word_in_any_case():
    assert holds_identifier("Bug px-7 is mended", "PX-7")
    assert holds_identifier("设备PX-7的", "PX-7")
    assert not holds_identifier("Bug PX-77 and APX-7", "PX-7")
    assert not holds_identifier("release 9.3(1) is out", "9.3(10)")


def test_a_line_may_end_within_an_identifier():
    assert find_identifiers("as ISO\n9001:2015 and ISO\u00a09001 ask") == ["ISO 9001"]
    assert holds_identifier("as ISO\n9001:2015 asks", "ISO 9001")
    assert places_of("as ISO\n  9001 asks", "ISO 9001") == [(3, 13)]
    assert not holds_identifier("ISO\n90013", "ISO 9001")


def test_places_of_a_word_are_those_that_its_expression_finds():
    draw = random.Random(5)
    found = 0
    for _ in range(3000):
        text, name = ("".join(draw.choices("pPx7_-. (é", k=draw.randrange(1, most))) for most in (40, 4))
        expected = [
            match.span() for match in regex.finditer(WHOLE % regex.escape(name).replace(r"\ ", r"\s+"), text, regex.IGNORECASE)
        ]
        assert places_of(text, name) == expected, (text, name)
        found += len(expected)
    assert found > 300


def test_a_pattern_whose_time_doubles_with_each_letter_is_named(monkeypatch):
    monkeypatch.setattr(identifiers, "MOST_SECONDS", 0.2)
    with pytest.raises(SettingsError, match=r"takes more than 0\.2 s to look through one text"):
        find_identifiers("a" * 40, [r"(?:\w|\w)*[0-9]"])


def test_a_pattern_that_is_nested_without_end_is_refused():
    with pytest.raises(ValidationError, match="nested too deeply"):
        IdentifierSettings(patterns=("(" * 3000 + ")" * 3000,))
