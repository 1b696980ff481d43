"""Identifiers: the bug IDs, versions, flags and error codes of a text. What counts as one is said here, for all who ask."""

import functools
from collections.abc import Iterator, Sequence

import regex

from embed_assets.artifacts.blocks import SettingsError

# What a name goes on with in the scripts that write spaces; a Chinese character beside a name does not belong to it.
_NAME = r"\p{Latin}\p{Greek}\p{Cyrillic}\p{M}\p{Nd}_"
_START, _END = rf"(?<![{_NAME}])", rf"(?![{_NAME}])"
_UPPER, _LOWER, _HEX = r"\p{Lu}\p{Nd}", r"\p{Ll}\p{Nd}", "[0-9A-Fa-f]"
# Units of measurement: a number before one is no version, nor is the unit itself a name, as maxRetries is.
_UNIT = (
    r"(?:[%‰°€£¥₹$]|(?:[VWAgmslL]|[kMGTPmµμnpcdh](?:Hz|Wh?|VA|V|Ah?|Pa|bar|g|m[²³]?|s|l|L|Nm?|J|eV|Ω|mol|Sv|Gy|Bq|cal)"
    r"|[KkMGTP]i?(?:B|b|[Bb]its?|[Bb]ytes?|[Bb]ps)(?:/s)?|Hz|VA|Ah|Wh|Pa|Nm|bar|psi|rpm|dB\w{0,2}|ppm|min|sec(?:onds?)?|minutes?"
    r"|hours?|hrs?|h|days?|weeks?|months?|years?|times|percent|Prozent|points?|inch(?:es)?|ft|lbs?|oz|[mb]illions?|Mio|Mrd|EUR"
    r"|USD|CHF|Uhr|[ap]\.?m\.?|x|Stunden?|Tagen?|heures?|jours?|horas?|час\w*|小时|時間|시간|天|元|円|원|万|亿|億"
    rf"){_END})"
)
# ISO, and the bodies of many countries. Some have a letter behind their name.
_STANDARD = (
    r"(?:[A-ZČÖ]{2,4}-(?:EN[ \u00a0])?)?(?:ISO|IEC|IEEE|EN|DIN|VDE|VDI|ÖNORM|ANSI|ASME|BS|NIST|FIPS|ETSI|NFPA|CISPR|IATF|RFC|PEP"
    r"|ΕΛΟΤ\sΕΝ)(?:[ /](?:T[SR]|SP|Std))?|(?:ГОСТ|GOST)(?:\s[РR](?:\s(?:ИСО|МЭК|ЕН))?)?|(?:JIS|KS|NF|ASTM)\s[A-Z]"
    r"|CNS|TCVN|QCVN|NBR|UNE|UNI|SFS"
)
_YEAR = r"(?:19[0-8]|20[0-4])\d"
# What is no version before it was read any further: a number with a unit, a small one, and a date; of 1,234.56, A.3.1 and
# 19-12.345 no part.
# (Behind V. and R. is one.)
_NO_VERSION = (
    rf"(?!\d+\.\d+[ \u00a0\u202f-]?{_UNIT}|0\.(?:0\d*|\d{{3,}})(?!\.?\d)|\d{{1,2}}\.\d{{1,2}}\.(?:19|20)\d\d{_END})"
    r"(?<!\d\.)(?<!(?<!\p{L})[^\P{Lu}RV]\.)(?<!(?<![\d.])\d{1,3},)(?!(?<=(?<![\w.-])\d{1,7}-)\d+\.\d+(?!\.?\d))"
    r"(?<![€£¥₹$][ \u00a0]?)"
    r"(?<!(?i:\b(?:sections?|chapters?|fig(?:ures?|s)?\.?|tables?|eqs?\.?|equations?|clauses?|abschnitt|kapitel|abb(?:ildung)?\.?"
    r"|tab(?:elle)?\.?)\s))"
)
_CAMEL_UNIT = (
    r"(?:(?:da|[fpnµμumcdhk])(?:Wh|Ws|Wp|Wth|Wel|We|Hz|Pas?|Ah|As|Sv|Gy|Bq|Wb|Ci|Da|Eq|Osm|St|Cal|Bd|Nm|Vs|Varh?|Vpp?|Bps|Bits?"
    rf"|Bytes?)|dB[a-z]{{1,2}}|(?:cm|mm|in)Hg|pK[abw]){_END}"
)
_SIGNAL = r"SIG(?:ABRT|ALRM|BUS|CHLD|FPE|HUP|ILL|INT|KILL|PIPE|QUIT|SEGV|STOP|SYS|TERM|TRAP|USR[12])"
_ERRNO = (
    r"E(?:ACCES|ADDRINUSE|ADDRNOTAVAIL|AGAIN|ALREADY|BADF|BUSY|CONNABORTED|CONNREFUSED|CONNRESET|DQUOT|EXIST|FAULT|HOSTUNREACH"
    r"|INPROGRESS|INTR|INVAL|IO|ISCONN|ISDIR|LOOP|MFILE|NAMETOOLONG|NETUNREACH|NFILE|NODEV|NOENT|NOEXEC|NOMEM|NOSPC|NOSYS"
    r"|NOTCONN|NOTDIR|NOTEMPTY|NOTSUP|OPNOTSUPP|PERM|PIPE|PROTO|ROFS|SRCH|STALE|TIMEDOUT|WOULDBLOCK|XDEV)"
)

IDENTIFIER_PATTERNS = (
    # CWE-565, %SYS-5-CONFIG, MAX_RETRY_COUNT, ÜBER-12, RHSA-2024:1234, KX-12.3, VA-12345/2023
    rf"{_START}%?\p{{Lu}}[{_UPPER}]*(?:[-_][{_UPPER}]+)+(?:[.:]\d+|(?:(?<=\d{{3}})/\d\d|(?<=\d)/(?:19|20)\d\d)(?!\d))*{_END}",
    # UUIDs; addresses of network cards (as Cisco has them, too) and of IPv6
    rf"(?<![{_NAME}:-])(?={_HEX}{{1,8}}[:.-])(?:{_HEX}{{4}}(?:\.{_HEX}{{4}}){{2}}"
    rf"|{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}|{_HEX}{{2}}(?:[:-]{_HEX}{{2}}){{5,}}"
    rf"|(?:{_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}|(?={_HEX}*\d){_HEX}{{3,4}}(?::{_HEX}{{1,4}})*::(?:{_HEX}{{1,4}}:)*(?:{_HEX}{{1,4}})?)"
    rf"(?![{_NAME}:-])",
    # --no-verify
    r"(?<![\w-])--[a-z][a-z0-9-]+",
    # 3.8.1, v2.0, TLSv1.3, 1.2.3a, 8.0U2, 9.3(10), 15.2(7)E3, 7.0(3)I7(5), 20.4R3-S2, 1.0-rc1, 1.4.0-SNAPSHOT, v1.29.0+k3s1,
    # 1.4.2+dfsg-1, but not 2.4 GHz, € 9.90, 12.3.2024, 0.05, 1.234,56 and table 3.1
    rf"{_START}(?=(?:[Vv]|\p{{Lu}}{{2,6}}v)?\d++\.\d){_NO_VERSION}(?:[Vv]|\p{{Lu}}{{2,6}}v)?\d+(?:\.\d+)+"
    rf"(?:\(\d+[a-z]{{0,2}}\)\p{{Lu}}{{0,3}}\d*[a-z]?|\p{{Lu}}{{1,3}}\d+[a-z]?|[a-z]\d*|-(?:rc|alpha|beta|\p{{Lu}})\.?\d+"
    rf"|-(?:SNAPSHOT|RELEASE|Final|GA|LTS)|\+[a-z][a-z\d]*+(?:[.~][a-z\d]++|-[a-z]*+\d[a-z\d]*+)*+)*{_END}(?!,\d{{1,2}}(?![\d.]))",
    # 802.1X, X.509, G.8275.1, but not 120.5V and S.123, which is a page
    rf"{_START}(?:802\.\d{{1,2}}\p{{Lu}}{{1,2}}|(?<!\.)(?!S)\p{{Lu}}\.(?!(?:19|20)\d\d{_END})\d{{3,5}}(?:\.\d+)*(?!/(?:19|20)\d\d)){_END}",
    # ISO 9001 (of DIN EN ISO 9001:2015, too), IEC 61131-3, RFC 9110, NIST SP 800-53, PN-EN 1090-2, ГОСТ 30249-97, JIS B 8301,
    # ISO 105-C06, but not EN 2024, which is a year
    rf"{_START}(?!(?:EN|UN[EI]|SFS|CNS|NBR)\s{_YEAR}{_END})(?:{_STANDARD})"
    rf"[ \u00a0\n]\d{{3,6}}(?:-\p{{Lu}}?\d{{1,5}})*\p{{Lu}}?{_END}(?![.,]\d)",
    # UN 1203, ETSI EN 300 019, OEKO-TEX 100 and other numbers of a trade
    rf"{_START}(?:UN[ \u00a0\n]\d{{4}}|ETSI\sEN[ \u00a0\n]\d{{3}}[ \u00a0]\d{{3}}(?:-\d{{1,3}})*"
    rf"|(?:UIC|TRGS|TRBS|DGUV|VdS|RAL)[ \u00a0\n]\d{{3,4}}(?:-\d{{1,3}})*){_END}(?![.,]\d)",
    # GB/T 12668.2-2002 and GB 50016, but not 16 GB 512, GB 2024, and GA 30301, which is a place in Georgia
    rf"{_START}(?:(?<!\d[ \u00a0\n]?)GB[ \u00a0\n](?!{_YEAR}{_END})\d{{4,6}}(?![ \u00a0]?{_UNIT})"
    r"|(?:GB|JB|HG|YY|DL|SJ|YD|QB|FZ|HJ|GA)(?:/[TZ][ \u00a0\n]\d{3,6}|[ \u00a0\n]\d{3,6}(?=[\d.]*-(?:19|20)\d\d)))"
    rf"(?:\.\d{{1,2}})?(?:-(?:19|20)\d\d)?{_END}(?![.,]\d)",
    # *151# and *#06#, which are dialled
    r"(?<![\w*#])[*#]{1,2}\d{2,4}(?:\*\d{1,20}){0,5}#(?![\w*#])",
    # GHSA-jfh8-c2jp-5v3q
    rf"{_START}GHSA(?:-[{_LOWER}]{{4}}){{3}}{_END}",
    # NullPointerException, SIGSEGV, ECONNREFUSED
    rf"{_START}(?:\p{{Lu}}[{_LOWER}]++(?=\p{{Lu}})(?:\p{{Lu}}[{_LOWER}]++)*?(?:Exception|Error|Warning|Fault)|{_SIGNAL}|{_ERRNO})"
    rf"{_END}",
    # 10GBASE-T, 10-2345-A, TCK/2024/0012, EBA/GL/2020/06, 2024/CV/0113, EMA/CHMP/12345/2020, 123/2020/NĐ-CP, VI ZR 252/19
    rf"{_START}(?=[\dA-Z])(?:\d+G?BASE-\p{{Lu}}+\d*|(?<!-)\d{{2,4}}-\d{{3,}}-\p{{Lu}}{{1,3}}\d*"
    rf"|(?:(?:\p{{Lu}}{{2,6}}/){{1,2}}(?:19|20)\d\d|(?:19|20)\d\d/\p{{Lu}}{{2,4}})/\d{{2,}}"
    rf"|(?:\p{{Lu}}{{2,6}}/){{1,2}}\d{{3,7}}/(?:19|20)\d\d|\d{{1,4}}/(?:19|20)\d\d/\p{{Lu}}[{_UPPER}]*(?:-\p{{Lu}}+)*"
    r"|(?:[IVX]{1,4}|\d{1,2})[ \u00a0\n](?:[ABIX]?Z[RBA]|A[BZ][RB]|St[RB]|Bv[RLEFGQ]|CSKP?|CNP|KZP|ACa)[ \u00a0\n]"
    rf"\d{{1,5}}/\d\d){_END}",
    # Of courts: (2020)最高法民终123号, 2019다12345, 5001234-56.2020.4.04.7000; of laws: 4412/2016, Lei 8.078/1990, 44-ФЗ,
    # but not 1500/2000 and 512/2048, which are parts of a whole, nor 1200/2010 km
    r"[(（〔](?:19|20)\d\d[)）〕]\p{Han}{1,6}\d{0,4}\p{Han}{1,6}\d{1,6}[号號]",
    rf"{_START}(?:19|20)\d\d(?!년)\p{{Hangul}}{{1,2}}\d{{2,7}}{_END}",
    rf"(?<![./-]){_START}(?:\d{{7}}-\d\d\.(?:19|20)\d\d\.\d\.\d\d\.\d{{4}}|\d{{1,2}}\.\d{{3}}/(?:19|20)\d\d"
    rf"|\d{{3,5}}/(?!2000|1920){_YEAR}(?![ \u00a0]?(?:[\[(%]|{_UNIT}))|\d{{1,3}}-ФЗ){_END}(?![./-]\d)",
    # pacs.008.001.08 of a bank, and an IBAN
    rf"{_START}(?:pacs|pain|camt|acmt|admi|auth|head|reda|seev|semt|sese|setr)\.0\d\d(?:\.\d{{3}}\.\d\d)?{_END}",
    rf"{_START}[A-Z]{{2}}\d\d[ \u00a0](?:[A-Z\d]{{4}}[ \u00a0]){{1,2}}(?:\d{{4}}[ \u00a0]?){{2,5}}[A-Z\d]{{0,3}}{_END}",
    # Of cars: 205/55 R16 91V, 1K0 615 301 AA (but not 12V 100 200), WVWZZZ1KZAW000001, 58101-3SA20
    rf"{_START}\d{{3}}/\d\d[ \u00a0]?Z?R[ \u00a0]?\d\d(?:[ \u00a0]\d{{2,3}}[A-Z])?{_END}",
    rf"{_START}(?:\d[A-Z]\d|0\d[A-Z])[ \u00a0]\d{{3}}[ \u00a0]\d{{3}}(?:[ \u00a0][A-Z]{{1,2}})?{_END}",
    rf"{_START}(?=[A-Z\d]{{17}}{_END})(?=\d*[A-Z])[A-HJ-NPR-Z\d]{{11}}\d{{6}}",
    rf"(?<![-.]){_START}\d{{5}}-(?=[A-Z]*\d)(?=\d*[A-Z])[A-Z\d]{{5}}(?!-){_END}",
    # 5.15.0-91-generic, 4.18.0-305.el8.x86_64, 1.1.1n-0+deb11u5: of kernels and packages
    rf"{_START}\d+(?:\.\d+){{2,}}[a-z]?-(?!\d+(?:\.\d+)+{_END})\d+(?:[.+~-][{_LOWER}_]*[{_LOWER}])*{_END}",
    # 0x1F
    rf"{_START}0x[0-9A-Fa-f]{{2,}}{_END}",
    # retry_count
    rf"{_START}\p{{Ll}}++(?:_[{_LOWER}]+)+{_END}",
    # maxRetries
    rf"{_START}(?=\p{{Ll}}++\p{{Lu}})(?!{_CAMEL_UNIT})\p{{Ll}}+(?:\p{{Lu}}[{_LOWER}]+)+{_END}",
    # E4012, CSCvx12345, R81.20
    rf"{_START}\p{{Lu}}{{1,6}}\p{{Ll}}{{0,3}}\d{{2,}}[{_UPPER}]*(?:\.\d+)*{_END}",
    # 6ES7214-1AG40-0XB0, 74HC595, 1756-L71, but not 1E10, 2024-Q1, and a part of #00FF00, %3A23 or 2024-10-19T00:18
    rf"(?<![#%-]){_START}(?!\d+E\d+{_END}|(?:19|20)\d\d-[HQW]\d)"
    rf"(?:\d+\p{{Lu}}{{1,4}}\d{{2,}}[{_UPPER}]*|\d{{3,}}-\p{{Lu}}{{1,4}}\d+[{_UPPER}]*)(?:-[{_UPPER}]+)*{_END}",
    # CYP2D6, M8x40, 2014/65/EU, 6205-2RS
    rf"{_START}(?:\p{{Lu}}{{2,5}}\d\p{{Lu}}\d{{1,2}}|M\d{{1,2}}x\d{{1,3}}"
    rf"|\d{{2,4}}/\d{{1,4}}/(?:E[UGC]|E[WE][GC]|[CU]E|Euratom)"
    rf"|(?<![.-])(?!(?:19|20)\d\d-)\d{{3,5}}-\d\p{{Lu}}{{1,3}}\d?(?!-)){_END}",
    # 10.1000/xyz123, which is a DOI, and 7732-18-5 of a chemical
    rf"{_START}10\.\d{{4,9}}/[\w./:;()-]*\w",
    rf"(?<![{_NAME}.-])\d{{2,7}}-\d\d-\d(?![{_NAME}-])",
    # cve-2024-1234, i-0abcd1234ef567890 and eu-central-1a of a cloud
    rf"(?<![.@-]){_START}[a-z]{{1,20}}+-(?:(?<=[a-z]{{2}}-)\d{{4}}-\d{{2,}}|(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{{8,17}}"
    rf"|(?:gov-)?(?:north|south|east|west|central)(?:east|west)?-?\d[a-z]?){_END}",
    # GigabitEthernet1/0/1, Gi1/0/1.100, xe-0/0/1
    rf"{_START}\p{{L}}++-?\d++(?:/\d+)+(?:[.:]\d+)?{_END}",
    # net.ipv4.ip_forward, server.port, java.lang.NullPointerException, but no name of a page that is linked to
    rf"(?<![{_NAME}/.@-])(?:[a-z][a-z0-9_-]++\.)+"
    rf"(?:(?!(?:md|html?|rst|txt|pdf|png|jpe?g|gif|svg){_END})[a-z][a-z0-9_-]+(?![{_NAME}/@])"
    rf"|(?=\p{{Lu}})(?<=\.[a-z0-9_-]+\.)[{_NAME}]+(?:[.$][{_NAME}]+)*)",
    # org.acme:pump-core:3.1.0
    rf"(?<![{_NAME}/.@:-])(?:[a-z][a-z0-9_-]*+\.)+[a-z][a-z0-9_-]*:[a-z][a-z0-9_.-]*[a-z0-9](?::\d[{_NAME}.-]*[{_NAME}])?(?![{_NAME}/@])",
    # /etc/fstab
    rf"(?<![{_NAME}/.:~(])(?:/[\p{{Latin}}\d_.-]*[\p{{Latin}}\d_]){{2,}}",
)
# A longer run is base64, minified code or a ruler. Without it no pattern takes more than linear time, whatever it is.
LONGEST_IDENTIFIER = 200
MOST_SECONDS = 20  # that a pattern of the settings may take for a text
_TOO_LONG = regex.compile(rf"[{_NAME}./:()%-]{{{LONGEST_IDENTIFIER + 1},}}")


@functools.lru_cache(maxsize=1000)
def compile_pattern(pattern: str) -> regex.Pattern:
    """A pattern of identifiers, in the syntax of the module ``regex``, which is that of ``re`` and more.

    Raises:
        ValueError: it is not a regular expression.
    """
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    except RecursionError:
        raise ValueError(f"{pattern[:100]!r} … is nested too deeply for a regular expression") from None


def find_identifiers(text: str, patterns: Sequence[str] = IDENTIFIER_PATTERNS) -> list[str]:
    """The identifiers in a text, each once, in order of appearance; of two that overlap, the first and longer one.

    Raises:
        SettingsError: a pattern takes far too long: there are some whose time doubles with each letter.
    """
    text = _TOO_LONG.sub(lambda run: " " * len(run[0]), text)
    found: list[tuple[int, int, str]] = []
    for pattern in patterns:
        try:
            matches = compile_pattern(pattern).finditer(text, timeout=MOST_SECONDS)
            found += [(match.start(), -match.end(), match[0]) for match in matches]
        except TimeoutError:
            raise SettingsError(
                f"identifiers: the pattern {pattern!r} takes more than {MOST_SECONDS} s to look through one text: "
                "write it so that a text is matched in one way only, without repetitions within repetitions"
            ) from None
    identifiers, end = [], 0
    for start, negative_end, identifier in sorted(found):
        name = " ".join(identifier.split())  # a line may end within ISO 9001
        if name and start >= end:
            identifiers.append(name)
            end = -negative_end
    return list(dict.fromkeys(identifiers))


@functools.lru_cache(maxsize=10_000)
def is_mostly_identifiers(query: str, patterns: tuple[str, ...] = IDENTIFIER_PATTERNS) -> bool:
    """Whether identifiers are more than half of what a query says, as in "NOX-48213" or "what is cve-2024-1234".

    People type them in small letters too; then only what has a digit counts, since follow-up is none.
    """
    found = set(find_identifiers(query, patterns))
    found = found or {name for name in find_identifiers(query.upper(), patterns) if any(map(str.isdigit, name))}
    return sum(map(len, found)) > len("".join(query.split())) / 2


def holds_identifier(text: str, identifier: str) -> bool:
    """Whether the identifier stands in the text as a whole word, in capitals or not."""
    return next(_places(text, identifier), None) is not None


def places_of(text: str, identifier: str) -> list[tuple[int, int]]:
    """Start and end of each place where the identifier stands in the text as a whole word, in capitals or not."""
    return list(_places(text, identifier))


def _places(text: str, identifier: str) -> Iterator[tuple[int, int]]:
    if not (text.isascii() and identifier.isascii()) or " " in identifier:
        yield from (match.span() for match in _whole(identifier).finditer(text))
        return
    # To compile an expression takes longer than to look through a hundred passages.
    text, identifier = text.lower(), identifier.lower()
    start = text.find(identifier)
    while start >= 0:
        end = start + len(identifier)
        whole = not _goes_on(text[start - 1 : start]) and not _goes_on(text[end : end + 1])
        if whole:
            yield start, end
        start = text.find(identifier, end if whole else start + 1)


def _goes_on(character: str) -> bool:
    """Whether an ASCII character beside a name belongs to it; there may be none."""
    return character.isalnum() or character == "_"


@functools.lru_cache(maxsize=10_000)
def _whole(identifier: str) -> regex.Pattern:
    words = r"\s+".join(map(regex.escape, identifier.split(" ")))
    return regex.compile(rf"{_START}{words}{_END}", regex.IGNORECASE)
