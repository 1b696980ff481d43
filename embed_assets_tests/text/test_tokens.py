import pytest

from embed_assets.text import tokens
from embed_assets.text.near_duplicates import distinguishing_terms, nearly_same, normalize_query


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Install the C++ kit, or C# 4.", ["install", "the", "c++", "kit", "or", "c#", "4"]),
        ("C++20 a+b", ["c++", "20", "a", "b"]),
        ("run git commit --no-verify -v", ["run", "git", "commit", "--no", "verify", "-v"]),
        ("%LINK-3-UPDOWN", ["%link", "3", "updown"]),
        ("“Quoted” (and [bracketed])?", ["quoted", "and", "bracketed"]),
        ("x <= 3 && y", ["x", "<=", "3", "&&", "y"]),
        ("what does `=>` do? (=== is ==)", ["what", "does", "=>", "do", "===", "is", "=="]),
        (
            "load > 80% or < 5, File > Open, a->b, std::map",
            ["load", ">", "80", "or", "<", "5", "file", "open", "a", "b", "std", "map"],
        ),
        ("≥ 5 € for $? now", ["≥", "5", "€", "for", "$?", "now"]),
        ("Über U\u0308ber Ü\u00adber", ["über", "über", "über"]),
        ("ﬁlter ＡＢＣ－１２", ["filter", "abc", "12"]),
        ("पंप की जाली", ["पंप", "की", "जाली"]),
        ("关阀NC", ["关", "阀", "nc"]),
        ("... --- !!!", []),
    ],
)
def test_words(text, words):
    assert tokens.words(text) == words


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("install the C++ kit", "Install the C# kit?", False),
        ("install the C++ kit", "INSTALL: the “C++” kit", True),
        ("what is A+ rated", "what is A rated", False),
        ("find -name", "find name", False),
        ("is a == b", "is a != b", False),
        ("résumé of 3.8.1", "re\u0301sume\u0301 of 3.8.1.", True),
        ("Straße sperren", "STRASSE SPERREN", True),
        ("كِتَابٌ كـبير ٩٫٣", "كتاب كبير 9.3", True),
        ("İzmir ılık", "izmir ILIK", True),
    ],
)
def test_queries_are_the_same_but_for_case_and_punctuation(one, other, same):
    assert (normalize_query(one) == normalize_query(other)) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("=>", "::"),
        ("🔥", "💧"),
        ("what is $?", "what is $!"),
        ("> 5 bar", "< 5 bar"),
        ("what does ?. do", "what does ?? do"),
        ("a += b", "a -= b"),
    ],
)
def test_queries_of_symbols_are_told_apart(one, other):
    assert normalize_query(one) != normalize_query(other) and normalize_query(f" {one} ") == normalize_query(one) != ""


def test_a_symbol_tells_passages_apart():
    text = "Download the {} kit from the portal, unpack it, and start the wizard as an administrator of the machine today."
    assert not nearly_same(text.format("C++"), text.format("C#"))
    assert nearly_same(text.format("C++"), text.format("c++"))
    assert distinguishing_terms("The c++ look-up of PRT-7719") == {"c++", "prt-7719"}


@pytest.mark.parametrize(
    ("text", "language", "terms"),
    [
        ("The pumps of release 3.9.2 and PRT-7719", "en", ["pump", "releas", "3.9.2", "prt", "7719"]),
        ("MAX_RETRY_COUNTS in C++", "en", ["max_retry_counts", "c++"]),
        ("Die Pumpen der Häuser", "de", ["pump", "haus"]),
        ("насосами", "ru", ["насос"]),
        ("润滑油NC-17", "zh", ["润滑", "滑油", "nc", "17"]),
        ("阀", "zh", ["阀"]),
        ("サーバー", "ja", ["サー", "ーバ", "バー"]),
        ("ปิดวาล์ว", "th", ["ปิด", "ดว", "วา", "าล์", "ล์ว"]),
        ("설치하다", "ko", ["설치", "치하", "하다"]),
        ("pumps", "vi", ["pumps"]),
        ("cœur coeur", "fr", ["coeur", "coeur"]),
        (
            "KAPAĞI kapağı Isıtıcı ISITICI CLI cli İZMİR izmir",
            "tr",
            ["kapak", "kapak", "isitiç", "isitiç", "cli", "cli", *["izmir"] * 2],
        ),
        ("कक्ष ९.३", "hi", ["कक्ष", "9.3"]),
        ("כִּיס כיס", "he", ["כיס", "כיס"]),
        ("Windows™ PowerShell℠ №7 x²", "de", ["windows", "powershell", "7", "x2"]),
        ("обʼєкт об'єкт", "uk", ["об", "єкт", "об", "єкт"]),
    ],
)
def test_search_terms(text, language, terms):
    assert next(tokens.search_terms([text], language)) == terms


@pytest.mark.parametrize(
    ("text", "language", "keywords"),
    [
        ("Der Überlauf der Ölpumpe", "de", ["der", "überlauf", "der", "ölpumpe"]),
        ("L’eau indiquée aujourd'hui", "fr", ["eau", "indiquée", "aujourd'hui"]),
        ("п'ять", "uk", ["п'ять"]),
        ("a rule--exception, wait...what, 50%/60%", "en", ["rule", "exception", "wait", "what", "50", "60"]),
        ("_bold_ `foo_bar` %LINK-3-UP 3.9.2 C++ don't", "en", ["bold", "foo_bar", "%link-3-up", "3.9.2", "c++", "don"]),
        ("更换滤网前请先关闭阀门", "zh", ["更换", "滤网", "关闭", "阀门"]),
        ("ポンプの軸受けは", "ja", ["ポンプ", "軸受け"]),
        ("IP'nin Isıtıcı KAPAĞI İzmir'dekiler", "tr", ["ip", "ısıtıcı", "kapağı", "izmir"]),
        ("O'Reilly Kur'an Türkiye’nin", "tr", ["o'reilly", "kur'an", "türkiye"]),
        (
            "PS-200을 24시간 안에 닫으십시오. LG전자 25도, WiFi에서는",
            "ko",
            ["ps-200", "24시간", "안에", "lg전자", "25도", "wifi"],
        ),
        (
            "お知らせ。取り付けネジの漏れがあるときは取り外し、詰まりを確認します。ばねの力",
            "ja",
            ["お知らせ", "取り付けネジ", "漏れ", "ある", "とき", "取り外し", "詰まり", "確認", "ばね"],
        ),
        (
            "VLANs 10,20,30; ports 22,80,443; 10.1.1.2/28,10.1.1.1; 1.234,56; 1,234,567.89 or 1,000",
            "en",
            [
                "vlans",
                "10",
                "20",
                "30",
                "ports",
                "22",
                "80",
                "443",
                "10.1.1.2/28",
                "10.1.1.1",
                "1.234,56",
                "1,234,567.89",
                "or",
                "1,000",
            ],
        ),
        ("2,5kg 12,345대 0x1000,10,0x12 a,b", "de", ["2,5kg", "12,345대", "0x1000", "10", "0x12"]),
        (
            "볼트를 수동으로 체결하고 오일을 보충하십시오. 마을 수리받을 늦가을",
            "ko",
            ["볼트", "수동", "오일", "마을", "수리받을", "늦가을"],
        ),
        ("2022. 12. 31.까지 3.9.2", "ko", ["2022", "12", "31", "까지", "3.9.2"]),
        ("Windows™ n.º 5 № 44-ФЗ №7", "pt", ["windows", "44-фз"]),
        ("می\u200cخواهم", "fa", ["می\u200cخواهم"]),
        ('דו"ח של מנכ״ל "כיס"', "he", ['דו"ח', "של", "מנכ״ל", "כיס"]),
        (
            "the ポンプの軸受けは and 更换滤网前请先关闭阀门",
            "en",
            ["the", "ポンプ", "軸受け", "and", "更换", "滤网", "关闭", "阀门"],
        ),
        ("กรุณาปิดวาล์ว", "th", ["กรุณา", "ปิด", "วาล์ว"]),
        ("\u0e19\u0e49\u0e33", "th", ["\u0e19\u0e49\u0e33"]),
    ],
)
def test_keywords_are_whole_words(text, language, keywords):
    assert tokens.keywords(text, language) == keywords


def test_sentences_end_as_their_language_ends_them():
    assert tokens.sentences("Sie läuft z. B. mit 3 bar. Aus.\nNeu", "de") == ["Sie läuft z. B. mit 3 bar.", "Aus.", "Neu"]
    assert tokens.sentences("关闭阀门。开泵！", "zh") == ["关闭阀门。", "开泵！"]
    assert tokens.sentences("Der 3. Versuch im 2. Halbjahr. Es gilt Stufe 3. Danach Ruhe.", "de") == [
        "Der 3. Versuch im 2. Halbjahr.",
        "Es gilt Stufe 3.",
        "Danach Ruhe.",
    ]
    assert tokens.sentences("Bu 3. madde okunur. Sonra.", "tr") == ["Bu 3. madde okunur.", "Sonra."]
    assert tokens.sentences("पंप बंद करें। जाली बदलें।", "hi") == ["पंप बंद करें।", "जाली बदलें।"]


@pytest.mark.parametrize(
    ("language", "found"),
    [
        ("pl", ["Zgodnie z art. 5 ust. 2 pkt 3 ustawy, m.in. olej itp. należy zwrócić.", "Por. rys. 3."]),
        ("pl", ["Akta o sygn. I C 456/22 są u adw. Janowi.", "Koniec."]),
        ("pt", ["Exma. Sra., a Lei n.º 8.078 diz que a sala fica no 3.º andar.", "A temp. máx. de 5 °C."]),
        ("fr", ["M. Dupont a signé l'art. 12 du contrat.", "Cf. art. L. 121-1 du Code.", "Réf. 12-34."]),
        ("ru", ["Согласно ст. 15 ГК РФ.", "См. рис. 3.", "Иванов И. И. подписал журнал ф. ТУ-92."]),
        ("el", ["Ποιο είναι το φίλτρο;", "Βλ. άρθρ. 5 παρ. 2 του ν. 4412/2016."]),
        ("tr", ["12. Hukuk Dairesi karar verdi.", "Soda vb. belgeler, bkz. Şekil 3.", "Av. Ayşe geldi."]),
        ("hu", ["A szerződés 2024. május 3. napján kelt.", "A 12. § szerint fizet."]),
        ("ko", ["2024. 5. 3. 체결된 계약입니다.", "2022. 12. 31.까지 제작된 차량입니다.", "교환할 것.", "끝."]),
        ("ar", ["د. أحمد وقّع العقد.", "راجع د. علي غداً.", "ما هي المدة؟"]),
        ("he", ['עו"ד כהן חתם על ההסכם.', "ראה סעיף 5.", 'חברת "מגדל" בע"מ תבטח את הדירה.']),
        ("hi", ["डॉ. शर्मा ने हस्ताक्षर किए।", "पार्ट नं. 7 का शुल्क रु. 500 है।"]),
        ("it", ["Ai sensi dell'art. 1218 c.c. il debitore risponde.", "La Alfa S.p.A. paga."]),
        ("de", ["Das ist Az. VI ZR 12/18 der Fa. Huber.", "Er gilt.", "Es ist der 3. Versuch."]),
        ("ja", ["「カード」で確認します。", "3.0T装置では上限を2W/kgとする。"]),
        ("en", ["Build it with make.", "git is needed.", "Set it to low.", "5 s later it runs."]),
    ],
)
def test_a_sentence_goes_on_behind_an_abbreviation(language, found):
    assert tokens.sentences(" ".join(found), language) == found


@pytest.mark.parametrize(
    ("language", "found"),
    [
        ("de", ["1. Drehen Sie die Tür auf.", "2. Drehen Sie den Hahn zu.", "3. Warten Sie ab."]),
        ("fr", ["1. Ouvrez le capot.", "2. Attendez la fin.", "3. Fermez tout."]),
        ("ru", ["1. Закройте кран и дверь.", "2. Откройте люк.", "3. Подождите час."]),
        ("tr", ["1. Vanayı kapat.", "2. Kapağı aç.", "3. Bekle."]),
        ("pl", ["1) Zamknij kran.", "2) Otwórz drzwi.", "3) Czekaj."]),
    ],
)
def test_the_number_of_a_step_stands_before_it(language, found):
    assert tokens.sentences(" ".join(found), language) == found


def test_a_space_at_a_number_or_a_latin_word_ends_no_clause_of_thai():
    clauses = ["หากความดันเกิน 5 บาร์", "ให้ตรวจสายไฟต่าง ๆ และสาย fiber (สีขาว) ก่อน", "แล้วปิดเครื่อง ๓๐ วินาที"]
    assert tokens.sentences(" ".join(clauses), "th") == clauses


def test_what_is_called_or_asked_within_a_sentence_does_not_end_it():
    assert tokens.sentences("他问：“你在哪里？”然后离开。完成。", "zh") == ["他问：“你在哪里？”然后离开。", "完成。"]
    assert tokens.sentences("「電源を切る！」と表示されます。終わり。", "ja") == ["「電源を切る！」と表示されます。", "終わり。"]


@pytest.mark.parametrize(
    ("term", "plain"),
    [
        ("zawór", "zawor"),
        ("łożysk", "lozysk"),
        ("điều", "dieu"),
        ("फ़िल्टर", "फिल्टर"),
        ("а40", "a40"),
        *((word, word) for word in ("насос", "が", "밸브", "วาล์ว", "पंप", "px-7")),
    ],
)
def test_plain_letters_have_no_accents(term, plain):
    assert tokens.plain_letters(term) == plain


def test_words_of_scripts_without_spaces_are_estimated():
    assert [tokens.count_words(text) for text in ("three short words", "关闭阀门", "ปิดวาล์ว", "关 NC-17", "")] == [3, 2, 2, 3, 0]


@pytest.mark.parametrize(
    "text", ["C++20 a+b --no-verify, %LINK-3-UPDOWN x<=3 && y", "PRT-7719: http://a.b/c 3.9.2 C# _x_ A+ ...", ""]
)
def test_ascii_is_read_like_any_other_text(text):
    """The last word alone is not in ASCII."""
    for read in (tokens.words, tokens.whole_words, lambda text: next(tokens.search_terms([text], "vi"))):
        assert [*read(text), "ü"] == read(f"{text} ü")
