"""Says of each *.toml of a folder what an editor would with schema.json there: "NAME<tab>ok", "refused" or "not TOML"."""
import json
import pathlib
import sys
import tomllib

from jsonschema import Draft4Validator

folder = pathlib.Path(sys.argv[1])
schema = json.loads((folder / "schema.json").read_text())
Draft4Validator.check_schema(schema)
validator = Draft4Validator(schema)
for path in sorted(folder.glob("*.toml")):
    try:
        value = tomllib.loads(path.read_bytes().decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        verdict = "not TOML"
    else:
        verdict = "ok" if validator.is_valid(value) else "refused"
    print(path.stem, verdict, sep="\t")
