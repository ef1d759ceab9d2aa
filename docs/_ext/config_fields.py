"""The reference of configuration fields, made from the dataclasses and their docstrings so that it cannot go stale."""

import dataclasses
import inspect
import re
from importlib import import_module

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

HEAD = re.compile(r"^(\w+(?:, \w+)*) : (.+)$")


def described(cls):
    """Yield (names, type, text) from the Attributes section of a dataclass and of those it extends."""
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        section = re.search(r"Attributes\n-+\n(.*)", inspect.cleandoc(base.__doc__ or ""), re.DOTALL)
        entry = None
        for line in section.group(1).splitlines() if section else ():
            head = HEAD.match(line)
            if head:
                if entry:
                    yield entry
                entry = (head.group(1).split(", "), head.group(2), [])
            elif entry and line.strip():
                entry[2].append(line.strip())
        if entry:
            yield entry


def default(field):
    """How a field's default reads in YAML."""
    if field.default_factory is not dataclasses.MISSING:
        return "empty"
    if field.default is dataclasses.MISSING:
        return "required"
    if field.default == "":
        return "empty"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


class ConfigFields(SphinxDirective):
    """``config-fields``: every field of a configuration dataclass with its default and its meaning."""

    required_arguments = 1
    optional_arguments = 1

    def run(self):
        module, _, name = self.arguments[0].rpartition(".")
        cls = getattr(import_module(module), name)
        prefix = f"{self.arguments[1]}." if len(self.arguments) > 1 else ""
        fields = {f.name: f for f in dataclasses.fields(cls)}
        lines, seen = [], set()
        for names, kind, text in described(cls):
            seen.update(names)
            for one in names:
                if one not in fields:
                    raise self.error(f"{name}: the docstring describes {one}, which is no field")
                lines.append(f"`{prefix}{one}`")
                lines.append("")
            shown = ", ".join(dict.fromkeys(default(fields[one]) for one in names))
            body = re.sub(r"(?<![`\w-])(--[a-z.]+)", r"`\1`", " ".join(text))
            lines[-1:] = [f": {body} (`{kind}`; default `{shown}`)", ""]
        missing = sorted(set(fields) - seen)
        if missing:
            raise self.error(f"{name}: fields without a description: {', '.join(missing)}")
        node = nodes.container(classes=["config-fields"])
        text = []
        for line in lines:
            if line or (text and text[-1]):
                text.append(line)
        self.state.nested_parse(StringList(_joined(text), self.get_source_info()[0]), self.content_offset, node)
        return [node]


def _joined(lines):
    """Definition list: terms directly above each other share the definition that follows."""
    out = []
    for line in lines:
        if not line and out and out[-1].startswith("`"):
            continue
        out.append(line)
    terms, result = [], []
    for line in out:
        if line.startswith("`"):
            terms.append(line)
            continue
        if terms:
            result.append(", ".join(terms))
            terms = []
        result.append(line)
    return result


def setup(app):
    app.add_directive("config-fields", ConfigFields)
    return {"parallel_read_safe": True}
