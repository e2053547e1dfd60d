"""The build of the wheel: the static files, and the page's libraries if npm has them.

`ManifestStaticFilesStorage` rewrites the names of files in JavaScript, and fails where
it finds none. The wheel's modules leave it nothing to rewrite that could fail.

Without the libraries the page shows answers as plain text. Everything else is listed in
pyproject.toml.
"""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: `npm run browser` writes the libraries here; the source distribution keeps the place.
LIBRARIES = "node_modules/.browser/libraries"
IN_STATIC = "streaming/libraries"

#: The map of a library, which the wheel does not have.
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*\n?", re.MULTILINE)
#: A dynamic import, or a type of another module in a comment, which Django takes for
#: one: modules whose types need each other would be a circle that it cannot hash.
_DYNAMIC = re.compile(r'\bimport\("(?=\.)')
#: An import. Django hashes chains of at most five imports, and fails at longer ones; it
#: looks for the name directly after `from`. Pages have an import map instead.
_IMPORT = re.compile(r'^((?:import|export)\b(?:[^"]*? from)? )(?="\.)', re.MULTILINE)


class StaticFilesHook(BuildHookInterface[Any]):
    """Includes files that are changed for the wheel, or exist only after `make`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Map the static files to their places in the package."""
        libraries = Path(self.root, LIBRARIES)
        if self.target_name != "wheel":
            if libraries.is_dir():
                build_data["force_include"][LIBRARIES] = LIBRARIES
            return
        self.made = Path(tempfile.mkdtemp())
        shutil.copytree(Path(self.root, "static"), self.made, dirs_exist_ok=True)
        if libraries.is_dir():
            shutil.copytree(libraries, self.made / IN_STATIC)
        for script in self.made.rglob("*.js"):
            script.write_text(for_hashing(script.read_text()))
        build_data["force_include"][str(self.made)] = "streaming/static"

    def finalize(
        self, version: str, build_data: dict[str, Any], artifact_path: str
    ) -> None:
        """Remove the changed files."""
        if self.target_name == "wheel":
            shutil.rmtree(self.made)


def for_hashing(source: str) -> str:
    """Return a module that `ManifestStaticFilesStorage` can hash in any project."""
    source = _DYNAMIC.sub('import( "', _SOURCE_MAP.sub("", source))
    return _IMPORT.sub(r"\1/**/ ", source)
