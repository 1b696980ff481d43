import pytest

from embed_assets.queries.filters import QuestionRules
from embed_assets.queries.passage_talk import speaks_of_its_task, speaks_of_the_passage
from embed_assets.queries.settings import QuestionsSettings

OF_THE_PASSAGE = [
    "According to the document, how long are snapshots kept?",
    "According to the text, how long are snapshots kept?",
    "What does the document say about snapshots?",
    "Based on the information, what is kept?",
    "Which of the following is true of snapshots?",
    "How long are snapshots kept, as described in the document?",
    "What is mentioned above about snapshots?",
    "What does the author recommend for backups?",
    "Based on the provided information, how long are they kept?",
    "Laut Text, wie lange werden Sicherungen aufbewahrt?",
    "Was sagt der Text über die Pumpe?",
    "Wie lange werden laut dem Dokument Sicherungen aufbewahrt?",
    "Worum geht es in diesem Abschnitt?",
    "Welche Pumpe wird im Text erwähnt?",
    "Selon le texte, combien de temps sont gardées les sauvegardes ?",
    "Que dit le document sur la pompe ?",
    "D'après l'extrait, que faire ?",
    "Según el texto, ¿cuánto tiempo se guardan las copias?",
    "¿Qué menciona el pasaje sobre la bomba?",
    "¿De qué trata este fragmento?",
    "Secondo il testo, quanto durano i backup?",
    "Segundo o texto, por quanto tempo são mantidas?",
    "De que trata este documento?",
    "Volgens de tekst, hoe lang worden back-ups bewaard?",
    "Enligt texten, hur länge sparas kopior?",
    "Ifølge teksten, hvor længe gemmes de?",
    "Co mówi ten fragment o pompie?",
    "Согласно тексту, сколько хранятся копии?",
    "О чём говорится в документе?",
    "Какие насосы описаны в этом тексте?",
    "根据上述文本，快照保留多久？",
    "文中提到的泵是什么？",
    "这段文字介绍了什么？",
    "本文介绍了哪些方法？",
    "この文章によると、ポンプは何ですか？",
    "本文によると、保存期間は？",
    "이 글에 따르면 스냅샷은 얼마나 보관되나요?",
    "본문에 따르면 얼마나 보관되나요?",
    "Bu metinde pompa nasıl anlatılıyor?",
    "وفقًا للنص، ما هي مدة الحفظ؟",
    "Which steps does the given text name?",
    "What is the paragraph about?",
    "Laut Artikel, wie lange werden Sicherungen aufbewahrt?",
    "Selon l'article, combien de temps ?",
    "根据文章，快照保留多久？",
    "根据文章内容，快照保留多久？",
    "この文は何について述べていますか？",
    "该文档提到了哪些泵？",
]
OF_THE_TASK = [
    "I'm sorry, but I can't assist with that request.",
    "I’m sorry, I cannot help with that.",
    "As an AI language model, I cannot ask questions.",
    "I cannot generate a question for such content.",
    "There is not enough information to write a question.",
    "Lo siento, pero no puedo ayudar con eso.",
    "Es tut mir leid, aber ich kann dabei nicht helfen.",
    "Je suis désolé, mais je ne peux pas répondre.",
    "抱歉，我无法回答这个问题。",
    "申し訳ありませんが、お手伝いできません。",
    "죄송하지만 도와드릴 수 없습니다.",
    "Извините, я не могу помочь с этим.",
    "Would you like me to write more questions?",
    "Do you want any more questions?",
    "Let me know if you want me to write more.",
    "Please provide the text that you want a question about.",
    "Leider kann ich dazu keine Frage stellen.",
    "Could you please share the text?",
    "Can you provide the passage that you want a question about?",
    "Would you like me to adjust the style?",
    "Should I write more questions?",
]
OF_NEITHER = [
    "How do I save a text document as PDF?",
    "Wie ändere ich den Text der Meldung?",
    "Wie lege ich einen Absatz im Dokument an?",
    "Wie formatiere ich dieses Textfeld?",
    "Quand a lieu le passage à l'heure d'été ?",
    "¿Cómo firmo el segundo documento?",
    "Come elimino il secondo paragrafo?",
    "¿Cómo cambio el texto del botón?",
    "Как посмотреть данные документа?",
    "Как найти слово в тексте?",
    "数据内容如何备份？",
    "如何打开文本文件？",
    "中文中的标点怎么输入？",
    "上下文中的变量是什么？",
    "文档描述字段在哪里设置？",
    "원본 글꼴을 어떻게 바꾸나요?",
    "Jak sortować według tekstu?",
    "Where in the document do I put the signature?",
    "How does the document list sort its entries?",
    "How is routing based on the content of the header done?",
    "Why does the LED shown above the port blink?",
    "How are the fields specified in the document parsed?",
    "What limits does the server apply to the text field?",
    "If the pump runs dry, which of its parts wear?",
    "What follows the above error E4012?",
    "How do I rename the article number?",
    "I'm sorry I deleted the branch, how do I get it back?",
    "I can't create a new user",
    "Sorry page 502 after deploy",
    "As an AI engineer, how do I register a model?",
    "Do you want to overwrite the file? prompt does not appear",
    "I cannot answer incoming calls on the phone",
    "Unfortunately the pump does not start after reset",
    "I don't have enough disk space for the snapshot",
    "Would you like to restart dialog keeps coming back",
    "Can you provide more than one DNS server to clients?",
    "I cannot make any calls",
    "抱歉页面无法加载怎么办？",
    "How do I count the words of a given text?",
    "How does the provided context manager close its files?",
    "How do I change the paragraph spacing in Writer?",
    "When was the passage of the Clean Air Act?",
    "What does the passage encoder of DPR return?",
    "Which rights does a person have laut Artikel 15 DSGVO?",
    "Welche Rechte gibt es gemäß Abschnitt 3.2 der Norm?",
    "Selon l'article 6 du RGPD, quand un traitement est-il licite ?",
    "Según el artículo 5, ¿quién responde de los daños?",
    "De acordo com o artigo 5º, quem responde pelos danos?",
    "¿Cómo se indica el texto alternativo de una imagen?",
    "Что указано в статье 12 закона о налогах?",
    "Кто отвечает согласно абзацу 2 статьи 5?",
    "ما هي العقوبة وفقا للفقرة 5 من القانون؟",
    "كيف أحفظ الملف وفقا للنصائح العامة؟",
    "哪些接口应该文档化？",
    "如何根据文章标题搜索？",
    "メールの本文に画像を貼るには？",
    "メール本文の文字数に制限はありますか？",
    "この文化財はいつ建てられましたか？",
    "이 글꼴을 설치하려면 어떻게 하나요?",
    "이 지문 센서는 어떻게 초기화하나요?",
    "도형 텍스트에 설명을 추가하려면?",
    "Should I add an index to a foreign key column?",
    "Should I write unit tests before the code?",
    "Can you send text messages with the gateway?",
    "Can you give the text field a default value?",
    "I cannot create a query in the dashboard, what is missing?",
]


@pytest.mark.parametrize("query", OF_THE_PASSAGE)
def test_a_question_that_speaks_of_its_passage_is_told_in_its_language(query):
    assert speaks_of_the_passage(query) and not speaks_of_its_task(query)


@pytest.mark.parametrize("sentence", OF_THE_TASK)
def test_apologies_and_offers_are_no_questions(sentence):
    assert speaks_of_its_task(sentence)


@pytest.mark.parametrize("query", OF_NEITHER)
def test_what_people_ask_about_texts_and_documents_of_their_own_stays(query):
    assert not speaks_of_the_passage(query) and not speaks_of_its_task(query)


def test_an_apology_is_refused_as_a_question():
    rules = QuestionRules(QuestionsSettings())
    assert rules.refuse("I'm sorry, but I can't assist with that request.", ["The pump runs dry."]) == "speaks of the task"
    assert rules.refuse("Laut Text, wann läuft sie?", ["Die Pumpe läuft trocken."], language="de") == "speaks of the passage"
