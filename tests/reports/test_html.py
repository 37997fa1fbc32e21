"""Pages that need nothing but themselves."""

import re
from collections import Counter

from sepdict.reports.html import HERE, join_modules

NAMED = re.compile(r"^(?:export )?(?:async )?(?:const|let|function|class) (\w+)", flags=re.MULTILINE)


def test_scripts_that_are_joined_have_what_they_import_before_them_and_no_name_twice() -> None:
    code = join_modules(["report.js", "copy.js"])
    assert re.search(r"^\s*import\b", code, flags=re.MULTILINE) is None
    assert code.index("function make(") < code.index("function buildView(") < code.index("const player = createPlayer(")
    assert [name for name, n in Counter(NAMED.findall(code)).items() if n > 1] == []
    for path in (HERE / "static").iterdir():
        if path.name.startswith("player") and path.name.endswith(".js"):
            title = "\n".join(path.read_text("utf-8").splitlines()[:2])
            assert code.count(title) == 1
