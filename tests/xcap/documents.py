"""Random documents, and selectors of their elements, for property tests."""

from collections.abc import Iterator

from hypothesis import strategies as st
from lxml import etree

__all__ = ["DOCUMENTS", "NAMESPACES", "elements", "path_of"]

NAMESPACES = {"p": "urn:one", "q": "urn:two"}
_DECLARATIONS = ' xmlns:p="urn:one" xmlns:q="urn:two"'

_NAMES = st.sampled_from(["a", "b", "ab", "p:a", "q:a", "p:b"])
_VALUES = st.sampled_from(["1", "2", "a &amp; b", "&lt;", "x > y", "it's", "", "ü", "&#x20;", "/"])
_ATTRIBUTES = st.dictionaries(st.sampled_from(["id", "n", "p:id"]), _VALUES, max_size=3)
_SPACE = st.sampled_from(["", " ", "\n  ", "\t"])
_OTHER = st.sampled_from(
    ["", "text", " a > b ", "\n ", "<!-- <a id='1'> -->", "<![CDATA[<b>]]>", "<?pi <a/>?>", "&amp;"]
)


@st.composite
def _element(draw: st.DrawFn, children: st.SearchStrategy[str], root: bool = False) -> str:
    name = "r" if root else draw(_NAMES)
    head = f"<{name}" + (_DECLARATIONS if root else "")
    if not root and draw(st.integers(0, 9)) == 0:
        head += ' xmlns="urn:default"'
    for attribute, value in draw(_ATTRIBUTES).items():
        quote = "'" if '"' in value or (draw(st.booleans()) and "'" not in value) else '"'
        head += f"{draw(_SPACE) or ' '}{attribute}{draw(_SPACE)}={quote}{value}{quote}"
    head += draw(_SPACE)
    if not root and draw(st.booleans()):
        return f"{head}/>"
    inner = draw(_OTHER)
    for child in draw(st.lists(children, max_size=5 if root else 3)):
        inner += child + draw(_OTHER)
    return f"{head}>{inner}</{name}{draw(_SPACE)}>"


_LEAF = _element(st.just("<a/>"))
_TREE = st.recursive(_LEAF, _element, max_leaves=12)

#: A whole document as octets.
DOCUMENTS = st.builds(
    lambda head, root, tail: (head + root + tail).encode(),
    st.sampled_from(["", '<?xml version="1.0"?>\n', "<!-- <x> -->"]),
    _element(_TREE, root=True),
    st.sampled_from(["", "\n", "<!-- end -->"]),
)
#: An element as octets.
ELEMENTS = _TREE.map(str.encode)


def elements(root: etree._Element) -> Iterator[etree._Element]:
    """All elements of a tree, in document order."""
    return root.iter("*")


def path_of(element: etree._Element) -> str:
    """A node selector of an element by wildcards and positions alone."""
    steps: list[str] = []
    here: etree._Element | None = element
    while here is not None:
        parent = here.getparent()
        if parent is None:
            steps.append("*")
        else:
            position = list(parent.iterchildren("*")).index(here) + 1
            steps.append(f"*%5b{position}%5d")
        here = parent
    return "/".join(reversed(steps))
