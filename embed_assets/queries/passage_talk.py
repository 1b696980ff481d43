"""Questions that nobody asks who has not seen the passage, and sentences that speak to whoever asked for a question."""

import re

# "this line card" and "the section header" are names, and no talk of a passage: what may follow the noun is a closed class.
AFTER_A_NOUN = (
    r"(?=\s*(?:[^\w\s]|$)|\s+(?:above|about|according|address\w*|and|appl\w+|are|as|be|by|can|contain\w*|could|cover\w*|defin\w+|"
    r"describ\w+|discuss\w*|do|does|explain\w*|focus\w*|for|from|has|have|how|i|if|in|includ\w+|introduc\w+|is|it|list\w*|"
    r"mean\w*|mention\w*|of|on|or|outlin\w+|provid\w+|recommend\w*|refer\w*|regarding|require\w*|say\w*|should|show\w*|"
    r"speak\w*|stat(?:e|es|ed|ing)|suggest\w*|talk\w*|tell\w*|that|to|us(?:e[sd]?|ing)|was|we|were|what|when|where|which|"
    r"who|why|will|with|would|you)\b)"
)
# Where any word may follow but those that make a name of it: "the paragraph spacing", "the provided context manager".
NO_NAME_OF_A_THING = (
    r"(?!\s+(?:align\w*|block|border|box|break|button|card|dialog|editor|element|embed\w*|encoder|feed|field|file|format\w*|"
    r"header|icon|ids?|indent\w*|index|length|level|limit|manager|mark|menu|node|number\w*|object|processor|propert\w+|ranker|"
    r"ranking|re-?rank\w*|retriev\w*|separator|settings?|size|spacing|store|style|symbol|tab|tag|template|type|variable|"
    r"vector|window)s?\b)"
)
# Article 5 of a law, section 3.2 of a standard: named by their numbers, they are what is asked about.
WITHOUT_NUMBER = r"(?!\s*+(?:(?:n[ro°º]?\.?|№|§)\s*+)?\d|\s++(?-i:[IVXLC]+)\b)"
# "A given text" is any text.
_THAT_ONE = r"(?<!\ba )(?<!\ban )(?<!\bany )(?<!\beach )(?<!\bevery )"
_SAID = r"(?:described|discussed|explained|given|listed|mentioned|outlined|presented|provided|referenced|shown|specified|stated)"
_ENGLISH = (
    rf"\b{_THAT_ONE}(?:above|following|given|provided) (?:passage|paragraph|section|text|document|excerpt|line|article|context"
    rf"|snippet)s?\b{NO_NAME_OF_A_THING}"
    r"|\b(?:the|this) (?:above|given|provided) (?:information|content|details)\b"
    r"|\b(?:which|what|who) of the following\b"
    rf"|\b(?:this|the) (?:passage(?!\s+(?:of|fees?|time|through|between)\b)|paragraph|excerpt)s?\b{NO_NAME_OF_A_THING}"
    rf"|\b(?:this|the) sections?\b{AFTER_A_NOUN}"
    rf"|\bthis (?:text|document|line)s?\b{AFTER_A_NOUN}"
    r"|\bthe (?:text|document|article|author)s? (?:say|state[sd]?\b|mention|describe|explain|discuss|recommend|suggest)"
    rf"|\b(?:according to|{_SAID} in) (?:the|this) (?:text|document|article)s?\b{AFTER_A_NOUN}"
    rf"|^(?:according to|based on) (?:the|this|these) (?:text|document|article|context|information|content)s?\b{AFTER_A_NOUN}"
    rf"|\b{_SAID} above\b(?!\s+(?:(?:the|an?|each)\b|\d))"
)
# The same in other languages. Words that mean much else as well, such as "Artikel" and "le passage", count in fewer places.
_OTHERS = (
    # German
    r"\b(?:diese[rnms]?|(?:de[rmns]|das|die|im|vom|zum) (?:obige|vorliegende|gegebene|genannte|folgende)[nrms]?) "
    r"(?:text(?:auszug|abschnitt|passage)?|abschnitt|absatz|dokument|auszug|passage)(?:e?s)?\b"
    r"|\b(?:laut|gemäß) (?:(?:de[rmns]|diese[rnms]?) )?(?:text(?:auszug|abschnitt)?|abschnitt|absatz|dokument|artikel"
    rf"|passage)s?\b{WITHOUT_NUMBER}"
    r"|\b(?:im|in der) text(?:auszug|abschnitt|passage)\b"
    r"|\b(?:im|in dem) (?:text|dokument|abschnitt|absatz|artikel) (?:oben|erwähnt|beschrieben|genannt|angegeben|aufgeführt)"
    r"|\b(?:der|das|die) (?:text|dokument|abschnitt|autor|artikel|passage) (?:sagt|erwähnt|beschreibt|nennt|erklärt|empfiehlt)\b"
    r"|\b(?:sagt|erwähnt|beschreibt|nennt|erklärt|empfiehlt) (?:der|das|die) (?:text|dokument|abschnitt|autor|artikel|passage)\b"
    # French
    r"|\b(?:ce|cet|cette) (?:passage|paragraphe|extrait|texte|document|section)\b"
    r"|\b(?:selon|d['’]après) (?:(?:le|la|ce|cet|cette) |l['’])(?:passage|paragraphe|extrait|texte|document|section|article"
    rf"|auteur)\b{WITHOUT_NUMBER}"
    r"|\b(?:le texte|le document|le passage|l['’]extrait|l['’]auteur) (?:dit|mentionne|décrit|indique|précise|explique)"
    r"|\b(?:dit|mentionne|décrit|indique|précise|explique) (?:le texte|le document|le passage|l['’]extrait|l['’]auteur)\b"
    r"|\b(?:texte|passage|extrait|paragraphe|mentionnée?s?|décrite?s?|citée?s?) ci-dessus\b"
    r"|\b(?:mentionnée?s?|décrite?s?|indiquée?s?|citée?s?) dans (?:le|ce) (?:texte|document|passage)\b"
    # Spanish, Portuguese, Italian: "segundo" and "secondo" without an article are a number.
    r"|\b(?:este|dicho|esse|neste|nesse|deste|questo) (?:pasaje|párrafo|fragmento|texto|documento|trecho|parágrafo|testo|brano)\b"
    r"|\b(?:según|de acuerdo con|segundo|de acordo com|conforme|secondo|en base a|com base em) (?:el|la|este|esta|o|a|esse|il|lo|"
    r"questo) (?:pasaje|párrafo|fragmento|texto|documento|artículo|sección|trecho|parágrafo|artigo|testo|brano|paragrafo"
    rf"|autore?)\b{WITHOUT_NUMBER}"
    r"|(?<!\bse )\b(?:dice|menciona|describe|indica|explica|diz|descreve|menziona|descrive) (?:el|o|il) (?:texto|pasaje|documento"
    r"|fragmento|"
    r"autor|trecho|testo|brano)\b"
    r"|\b(?:menciona\w*|descri\w+|indica\w*|citad\w+|menzionat\w+) (?:en el|no|nel) (?:texto|pasaje|documento|trecho|testo"
    r"|brano)\b"
    r"|\b(?:texto|pasaje|fragmento|trecho|testo|brano) (?:proporcionado|acima|fornecido|fornito|sopra)\b"
    # Dutch, Swedish, Danish, Norwegian
    r"|\b(?:deze|dit|bovenstaande) (?:passage|tekst|alinea|document|fragment)\b"
    r"|\bvolgens (?:de|het|deze|dit) (?:passage|tekst|alinea|document|fragment|artikel)\b"
    r"|\b(?:enligt|ifølge) (?:texten|teksten|dokumentet|stycket|stykket|avsnittet|afsnittet|passagen|passasjen|artikeln"
    r"|artikkelen)\b"
    r"|\b(?:denna text|detta dokument|detta avsnitt|denne tekst(?:en)?|dette dokument(?:et)?|dette afsnit|dette avsnittet)\b"
    # Polish, Czech
    r"|\b(?:ten|tym|tego|powyższ\w+|podan\w+) (?:fragmen\w+|teks\w+|dokumen\w+|akapi\w+)\b"
    r"|\b(?:tento|tomto|tohoto|uvedeného) (?:text\w*|dokument\w*|úryv\w+|odstav\w+)\b"
    # Russian: "данные документа" are its data.
    rf"|\bсогласно (?:тексту|отрывку|абзацу|фрагменту)\b{WITHOUT_NUMBER}|\bв (?:отрывке|пассаже)\b"
    r"|\b(?:эт(?:от|ом|ого|ому)|данн(?:ый|ом|ого|ому)|(?:выше)?привед[её]нн\w+) (?:текст|документ|отрыв|абзац|фрагмент"
    r"|пассаж)\w*\b"
    rf"|\b(?:упом\w+|описан\w*|указан\w*|говорится|сказано) в (?:тексте|документе|статье|абзаце)\b{WITHOUT_NUMBER}"
    # Turkish, Arabic
    r"|\b(?:bu|yukarıdaki|verilen) (?:metinde|metne|pasaj\w*|paragraf\w*|belgede|belgeye)\b|\b(?:metne|pasaja|belgeye) göre\b"
    rf"|(?:وفق\S*|حسب|بحسب|بناء\S* على)\s+(?:لل|ال)(?:نص|مقطع|وثيقة|مستند|فقرة)\b{WITHOUT_NUMBER}"
    r"|هذا (?:النص|المقطع|المستند)\b|هذه (?:الفقرة|الوثيقة)\b"
    # Chinese, Japanese, Korean: "数据内容" is data, "文本文件" a text file, "应该文档化" says what should be done, "本文" in
    # Japanese the body of a mail, "この文化" a culture, and "이 글꼴" a font.
    r"|(?:根据|根據|依据|依據|按照)(?:(?:上述|以上|该|該|此|这段|這段|这篇|這篇|所给|给定|提供的)+(?:的)?(?:文本|文档|文檔"
    r"|内容|內容|材料|资料|信息|資訊)|(?:文章|段落|短文)(?:的?内容|的?內容|中|所|可|[,，:：]|$)|原文|上文|文中)"
    r"|(?:这段|這段|这篇|這篇|(?<![应應])[该該]|上述|以上)(?:话|話|文字|文本|内容|內容|文章|文档|文檔|段落|短文)"
    r"|(?<![\u3040-\u30ff\u4e00-\u9fff])(?:文中|本文(?![件字\u3040-\u30ff]))|(?:(?<!下)文|原文|上文|文档|文檔|文章|段落|文本)中(?:提到|提及|描述|所述"
    r"|指出|介绍|介紹)"
    r"|(?:この|上記の|前述の|与えられた|提供された)(?:文章|文書|段落|テキスト|パッセージ|記事(?!番号)|資料|抜粋|文(?=[はがをにでのと、]|$))"
    r"|(?:本文|文章|文書|段落|テキスト|パッセージ)(?:によ(?:ると|れば)|で(?:述べ|言及|説明|紹介)|に(?:記載|書かれ|示され))"
    r"|(?:^|(?<=\s))(?:이|위|위의|본|해당|주어진|제시된) (?:글(?!꼴|자|로벌|리프)|문서(?! ?번호)|본문"
    r"|지문(?!\s*(?:인식|센서|등록|로그인|스캐너|잠금))|단락|문단|텍스트|구절)"
    r"|(?:^|(?<=\s))(?<!메일 )(?:글|문서|본문|지문|단락|텍스트)에 (?:따르면|의하면|언급|나온|나와|설명(?:된|하|되|돼|한))"
)
_PASSAGE_TALK = re.compile(f"{_ENGLISH}|{_OTHERS}", re.IGNORECASE)
_TO_WRITE = r"(?:write|generate|create|formulate|provide|produce|come up with|think of|answer|fulfil+|make)"
_TASK_TALK = re.compile(
    # Apologies; "I'm sorry I deleted it, how do I get it back?" asks.
    r"^(?:(?:i['’]?m|i am) (?:\w+ )?(?:sorry|afraid)\b|sorry,? (?:but|i|as)\b|(?:my )?apologies\b|i apologi[sz]e\b"
    r"|es tut mir leid\b|"
    r"tut mir leid\b|entschuldigung\b|(?:je suis |nous sommes )?désolée?s?\b|lo siento\b|mi dispiace\b|desculpe\b|sinto muito\b|"
    r"het spijt me\b|przepraszam\b|извините\b|простите\b|(?:很)?抱歉|对不起|對不起|申し訳(?:ありません|ございません)"
    r"|すみませんが|"
    r"죄송(?:합니다|하지만)|미안하지만)(?!.*[?？])"
    r"|^(?:leider kann ich|malheureusement,? je ne peux|lamentablemente,? no puedo|purtroppo,? non posso"
    r"|infelizmente,? não posso|"
    r"helaas kan ik|niestety,? nie mogę|к сожалению,? я не могу)\b.*(?:frage|question|pregunta|domanda|pergunta|vra|pyta|вопрос)"
    rf"|\bi (?:cannot|can['’]?t|can not|could not|couldn['’]t|am unable to|am not able to|won['’]t|do not|don['’]t) {_TO_WRITE} "
    r"(?:an?|any|the|this|that|such)? ?(?:\w+ )?(?:questions?|quer(?:y|ies)|request|response)\b(?!.*[?？])"
    r"|\bi (?:cannot|can['’]?t|am unable to|am not able to) (?:help|assist)(?: you)? with (?:that|this)\b"
    r"|^(?:as an? (?:large )?(?:ai|artificial intelligence|language model)(?: language)?(?: model| assistant)?|als (?:ki"
    r"|sprachmodell)|"
    r"en tant qu['’](?:ia|intelligence artificielle)|como (?:modelo de lenguaje|una ia)),? (?:i|my|kann ich|je|no)\b"
    r"|^作为(?:一个|一名)?(?:ai|人工智能|语言模型)|^как языковая модель"
    r"|\b(?:not enough|insufficient) (?:information|context)\b(?!.*\?)"
    r"|\bi (?:do not|don['’]t) have (?:enough|sufficient|any) (?:information|context)\b"
    r"|\bno (?:question|query) (?:can|could) be\b"
    r"|^no (?:(?:relevant|suitable|appropriate|good|valid|specific|meaningful|natural|realistic) )?(?:questions?|quer(?:y|ies))"
    r"(?: (?:is |are )?(?:possible|available|applicable|found|generated))?[.!]?$"
    r"|\bich kann (?:\w+ ){0,4}keine (?:\w+ )?(?:such)?(?:frage|anfrage)\b(?!.*\?)"
    r"|\b(?:je ne peux pas|impossible de|il n['’]est pas possible de) (?:générer|formuler|créer|écrire|poser|rédiger) "
    r"(?:de |d['’]une |une |aucune )?(?:\w+ )?question\b(?!.*\?)"
    r"|\bno (?:se )?(?:puedo|puede|pueden|es posible) (?:generar|formular|crear|escribir|hacer) (?:una|ninguna|la) "
    r"pregunta\b(?!.*\?)"
    r"|\bnon (?:posso|è possibile|si può) (?:generare|formulare|creare|scrivere) (?:una|alcuna|nessuna) domanda\b(?!.*\?)"
    r"|\bnão (?:posso|é possível|consigo) (?:gerar|formular|criar|escrever) (?:uma|nenhuma) pergunta\b(?!.*\?)"
    r"|^(?:please|(?:could|can) you please) (?:provide|share|give|send|paste)\b.*\b(?:text|more (?:context|information"
    r"|details))\b"
    r"|^(?:could|can) you (?:provide|share|give|send|paste)(?: me)?(?: with)? (?:the|your) (?:\w+ )?(?:text|passage|document)\b"
    r"(?= (?:you|that|so|from which|for which|to which)\b|\W*$)"
    r"|^(?:could|can) you (?:provide|share|give)(?: me)?(?: with)? more (?:context|information|details)\b"
    # Offers
    r"|^(?:would you like me to|do you want me to|want me to|let me know if)\b"
    r"|^(?:would you like|do you want|shall i|should i)\b.*\b(?:any|more|other|another|these|those|further|different) "
    r"(?:of (?:them|these)|(?:\w+ )?(?:questions?|quer(?:y|ies)))\b"
    r"|^(?:möchten sie|möchtest du|soll ich|voulez-vous|souhaitez-vous|¿?(?:quieres|quiere|desea)|gostaria)\b.*\b(?:weitere"
    r"|noch mehr|"
    r"d['’]autres|más|mais) (?:fragen|questions?|preguntas|perguntas)\b",
    re.IGNORECASE | re.DOTALL,
)


def speaks_of_the_passage(query: str) -> bool:
    """Whether a question speaks of the passage that it was written about, as in "according to the text"."""
    return _PASSAGE_TALK.search(query) is not None


def speaks_of_its_task(sentence: str) -> bool:
    """Whether a sentence is an apology or an offer of the model to whoever asked it to write questions."""
    return _TASK_TALK.search(sentence) is not None
