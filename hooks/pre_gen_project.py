"""Refuses bad answers that came past cookiecutter.json, as those of a replay file do."""

import json
import runpy
import sys
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
TEMPLATE = json.loads(r"""{{ {"folder": template_folder} | tojson }}""")["folder"]

if __name__ == "__main__":
    rules = runpy.run_path(str(Path(TEMPLATE, "answers.py")))
    if faults := rules["faults_of"](ANSWERS):
        sys.exit("\n".join(faults))
