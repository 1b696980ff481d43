"""reStructuredText, with the directives and roles that docutils does not know made generic."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted
from embed_assets.corpus.readers.html import parse, to_markdown
from embed_assets.corpus.readers.plain import encoding_notes

# Directives whose content is code and no reStructuredText.
_CODE = {
    *("code-block", "sourcecode", "doctest", "testcode", "testoutput", "testsetup", "prompt", "ipython", "productionlist"),
    *("graphviz", "digraph", "graph", "mermaid", "plantuml", "uml", "jupyter-execute"),
}
# Directives that read other files or hold markup for one writer; what they would show is not in the file.
_LEFT_OUT = {"include", "raw", "literalinclude", "command-output", "program-output"}
# What they take from the code is not in the file; what stands below them is.
_AUTODOC = re.compile(r"auto(?:module|class|exception|function|method|attribute|data|property|decorator|type)")
# Directives of a domain describe an object of code: their argument is its signature, and no reStructuredText.
_OBJECTS = {
    *("function", "method", "attribute", "data", "exception", "macro", "type", "member", "var", "envvar", "option", "cmdoption"),
    *("program", "describe", "object", "confval", "setting", "classmethod", "staticmethod", "decorator", "property"),
}
# Directives whose argument is for the writer, and seen by nobody.
ARGUMENT_NOT_SEEN = {
    *("only", "ifconfig", "grid", "hlist", "tab-set", "cssclass", "rst-class", "tabs", "raw", "image", "figure"),
}
# Fields at the beginning of a file that say how to treat it.
_FIELDS_OF_THE_FILE = re.compile(r"\s*(?::(?:orphan|tocdepth|nocomments|no-?search|hide-?toc):[^\n]*\n\s*)+")
# Directives that show nothing at their place.
_INVISIBLE = {
    *("index", "highlight", "currentmodule", "module", "default-domain", "meta", "tabularcolumns", "role", "default-role"),
    *("sectionauthor", "codeauthor", "moduleauthor"),
}
_LABELS = {
    "versionadded": "Added in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
    "seealso": "See also",
}
_SEEN_OPTIONS = ("caption", "title", "header", "alt", "type", "default", "synopsis")


class _AnyOption(dict):
    """An option_spec that takes the options that it does not know as text."""

    def __missing__(self, key: str):
        return lambda value: value or ""

    def __bool__(self) -> bool:
        return True


def read_rst(content: bytes) -> Converted:
    """The text of a reStructuredText file with all that its directives hold; no other file is opened."""
    from docutils import nodes
    from docutils.core import publish_doctree, publish_from_doctree

    text, encoding = decode(content)
    if fields := _FIELDS_OF_THE_FILE.match(text):
        text = text[fields.end() :]
    left_out: Counter[str] = Counter()
    settings = {
        "report_level": 2,
        "halt_level": 5,
        "warning_stream": io.StringIO(),
        "file_insertion_enabled": False,
        "raw_enabled": False,
        "embed_stylesheet": False,
        "smart_quotes": False,
        "syntax_highlight": "none",
        "math_output": "LaTeX",
        "line_length_limit": 10**9,
        "output_encoding": "unicode",
        "_disable_config": True,
        "toc_backlinks": False,
        "footnote_backlinks": False,
        "sectnum_xform": False,
        "doctitle_xform": True,
    }
    with _generic_directives(left_out):
        tree = publish_doctree(text, settings_overrides=settings)
    # Sections, notes and tables have titles of their own.
    title = next((title for title in tree.findall(nodes.title) if isinstance(title.parent, nodes.document)), None)
    _keep_what_failed(tree)
    page = publish_from_doctree(tree, writer="html5", settings_overrides=settings | {"report_level": 5})
    soup = parse(page)
    notes = tuple(f"directive {name} left out ({number})" for name, number in sorted(left_out.items()))
    body = soup.body or soup
    for block in body.find_all("pre"):
        block.string = block.get_text()
    return Converted(to_markdown(body), title.astext() if title else "", True, {}, (*encoding_notes(encoding), *notes))


def _keep_what_failed(tree: Any) -> None:
    """Put the source of what docutils could not parse in the place of its message, and words in the place of pictures."""
    from docutils import nodes

    for image in list(tree.findall(nodes.image)):
        alternative = image.get("alt", "")
        words = nodes.Text(alternative) if isinstance(image.parent, nodes.TextElement) else nodes.paragraph("", alternative)
        image.parent.replace(image, words if alternative else [])
    for message in list(tree.findall(nodes.system_message)):
        source = [child for child in message.children if isinstance(child, nodes.literal_block)]
        for block in source:
            block["classes"] = []
        message.parent.replace(message, source)
    tree.transform_messages = []
    for section in list(tree.findall(nodes.section)):
        if "system-messages" in section["classes"]:
            section.parent.remove(section)
    for problem in list(tree.findall(nodes.problematic)):
        words = re.sub(r"^:[\w:.+-]+:|[`|_*]+", lambda match: "_" if match[0] == "_" else "", problem.astext())
        problem.parent.replace(problem, nodes.Text(words.rstrip("_")))
    for topic in list(tree.findall(nodes.topic)):
        if "contents" in topic["classes"]:
            topic.parent.remove(topic)


@contextmanager
def _generic_directives(left_out: Counter[str]) -> Iterator[None]:
    """Let docutils ask here for directives and roles first, as Sphinx does it for its own."""
    from docutils.parsers.rst import directives, roles

    known_directive, known_role = directives.directive, roles.role
    # Languages lie in lists of their own: docutils says "not found" for what it does not know in English.
    generic: dict[str, type] = {}

    def directive(name: str, language: Any, document: Any):
        name = name.lower()
        if name not in generic:
            found = None
            if name not in _LEFT_OUT | _INVISIBLE | _CODE | _OBJECTS:
                found, _ = known_directive(name, language, document)
            generic[name] = _lenient(found) if found and name != "class" else _generic(name, left_out)
        return generic[name], []

    def role(name: str, language: Any, line: int, reporter: Any):
        from docutils.nodes import Text

        found = known_role(name, language, line, reporter)[0] if name != "raw" else None
        return found or (lambda name, raw, text, *rest, **more: ([Text(role_text(text, name))], [])), []

    directives.directive, roles.role = directive, role
    try:
        yield
    finally:
        directives.directive, roles.role = known_directive, known_role


def role_text(text: str, role: str) -> str:
    """What a reader sees of a role: the words in front of the target, without the marks of a cross-reference."""
    from docutils.utils import unescape

    text = unescape(text)
    if role in ("guilabel", "menuselection"):  # & stands before the letter of a shortcut
        return re.sub(r"&(?=[^\s&])", "", text).replace("-->", "›")
    if match := re.fullmatch(r"(.+?)\s*<[^<>]+>", text, re.DOTALL):
        return match[1]
    return text.lstrip("~!")


def _lenient(directive: Any) -> type:
    """A directive of docutils that passes over options that it does not know."""
    return type(directive.__name__, (directive,), {"option_spec": _AnyOption(directive.option_spec or {})})


def _is_signature(argument: str) -> bool:
    """Whether the argument of ``class`` is that of Sphinx, the class of a program, and not a class of HTML."""
    return re.search(r"[A-Z(.]", argument) is not None


def _generic(name: str, left_out: Counter[str]) -> type:
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Generic(Directive):
        """Argument, captions and content of a directive that docutils does not know."""

        has_content = True
        optional_arguments = 1
        final_argument_whitespace = True
        option_spec = _AnyOption()

        def run(self) -> list:
            if name in _INVISIBLE:
                return []
            if name in _LEFT_OUT:
                left_out[name] += 1
                return []
            is_autodoc = _AUTODOC.fullmatch(name) is not None
            if is_autodoc:
                left_out[name] += 1
            found = [self.options[option] for option in _SEEN_OPTIONS if self.options.get(option)]
            if name in _CODE:
                captions = [nodes.paragraph("", caption) for caption in found]
                # Without a blank line, docutils takes the first lines of the code for the argument.
                language = self.arguments[0] if self.arguments and re.fullmatch(r"[\w+#.-]+", self.arguments[0]) else ""
                lines = [*(self.arguments if not language else []), *self.content]
                code = nodes.literal_block("", "\n".join(lines))
                code["classes"] = ["code", f"language-{language}"] if language else []
                return [*captions, code] if lines else captions
            if name == "toctree":
                left_out[name] += 1
                return [nodes.paragraph("", caption) for caption in found]
            parts: list = []
            is_object = name in _OBJECTS or ":" in name or (is_autodoc and name != "automodule")
            if self.arguments and (is_object or (name == "class" and _is_signature(self.arguments[0]))):
                parts += [nodes.paragraph("", line.strip()) for line in self.arguments[0].splitlines()]
            elif name not in ("class", "automodule", *ARGUMENT_NOT_SEEN) and (self.arguments or name in _LABELS):
                words = " ".join(filter(None, [_LABELS.get(name, ""), "\n".join(self.arguments)]))
                inline, messages = self.state.inline_text(words, self.lineno)
                parts += [nodes.paragraph(words, "", *inline), *messages]
            parts += [nodes.paragraph("", words) for words in found]
            body = nodes.container()
            self.state.nested_parse(self.content, self.content_offset, body, match_titles=1)
            return [*parts, *body.children]

    return Generic
