"""From layers to one set of settings: defaults < recipe < file < --set < flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ornstein.config.about import Field, fields
from ornstein.config.kinds import AUTO
from ornstein.config.schema import Config
from ornstein.config.toml import parse_toml, read_toml
from ornstein.config.training import LENGTHS
from ornstein.errors import ConfigError, near

_FOLDER = resources.files("ornstein") / "recipes"
RECIPES: tuple[str, ...] = tuple(
    sorted(f.name.removesuffix(".toml") for f in _FOLDER.iterdir() if f.name.endswith(".toml"))
)
_RENAMED = {"train.class_dropout": "train.condition_dropout"}  # as older runs call them
_TABLES = {"net.options": "net.name", "model.process_options": "model.process"}


@dataclass(frozen=True)
class Resolved:
    """Settings, and where each came from.

    Attributes:
        config: The settings.
        origins: Full name to "default", "recipe edm", "my.toml line 14", "--set", "--minutes" or,
            of the recipe, "--preset".
    """

    config: Config
    origins: Mapping[str, str]


@dataclass
class _Layers:
    """Settings gathered so far by full name, and their origins."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def put(self, new: Mapping[str, Any], origins: Mapping[str, str]) -> None:
        """Lay ``new`` over what is there."""
        # One length replaces another, and a new architecture or process drops the old one's
        # options.
        if any(new.get(f"train.{name}") not in (None, AUTO) for name in LENGTHS):
            for name in LENGTHS:
                self.drop(f"train.{name}")
        for table, owner in _TABLES.items():
            if owner in new and new[owner] != self.values.get(owner):
                self.drop(table)
        self.values.update(new)
        self.origins.update(origins)

    def drop(self, name: str) -> None:
        """Forget a setting."""
        self.values.pop(name, None)
        self.origins.pop(name, None)


def recipe_about(name: str) -> str:
    """Return what a recipe says of itself: the first comment of its file."""
    text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    return text.splitlines()[0].lstrip("# ")


CALLED = {"data.source": "DATA", "data.upscale": "--factor"}
"""What the command line calls settings that have other names there."""


def resolve(
    *,
    recipe: str | None = None,
    file: str | Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Resolved:
    """Merge all layers into one checked set of settings.

    Args:
        recipe: Name of a recipe; default what the file names, else "default".
        file: TOML file of settings.
        sets: Settings as "key=value"; the section may be left out where the name is unique.
        flags: Settings of the command line by full name; None means not given.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value out of range; key and place are
        named.
    """
    layers = _Layers()
    own: dict[str, Any] = {}
    places: dict[str, str] = {}
    if file is not None:
        path = Path(file)
        own, lines = _read(path)
        places = {name: f"{path.name} line {lines[name]}" for name in own if name in lines}
        places = {name: places.get(name, path.name) for name in own}
    said = _said_recipe(sets)
    chosen = recipe or (own.get("recipe", "default") if said is None else said)
    place = places.get("recipe") if said is None else "--set"
    layers.put(*_recipe(chosen, None if recipe else place))
    layers.put(own, places)
    # An architecture or a process goes first, so that it drops no options said beside it.
    for text in sorted(sets, key=lambda text: not _owns(text)):
        name, value = _assignment(text, layers)
        layers.put({name: value}, {name: "--set"})
    for name, value in (flags or {}).items():
        if value is not None:
            option = f"--{name.rpartition('.')[2].replace('_', '-')}"
            layers.put({name: value}, {name: CALLED.get(name, option)})
    layers.put({"recipe": chosen}, {"recipe": "--preset"} if recipe else {})
    config = _build(layers)
    return Resolved(config, {name: layers.origins.get(name, "default") for name in config.flat()})


def load_config(path: str | Path) -> Config:
    """Read the complete settings of a run, as :func:`to_toml` wrote them; no recipe is added.

    Raises:
        ConfigError: the file is missing or not ours.
    """
    path = Path(path)
    values, lines = _read(path)
    layers = _Layers()
    layers.put(values, {n: f"{path.name} line {lines[n]}" for n in values if n in lines})
    return _build(layers)


def settings_in(path: Path) -> dict[str, Any]:
    """What the settings of a run say, by full name; nothing is checked, which would take torch.

    Raises:
        ConfigError: the file is missing or no TOML.
    """
    return {name: None if value == AUTO else value for name, value in _read(path)[0].items()}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    tree, lines = read_toml(path)
    return _flatten(tree), lines


def _recipe(name: object, place: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    if name not in RECIPES:
        raise ConfigError(
            f"unknown recipe {name!r}{_at(place)}.{near(str(name), RECIPES)} "
            f"There are: {', '.join(RECIPES)}."
        )
    file = _FOLDER / f"{name}.toml"
    values = _flatten(parse_toml(file.read_text(encoding="utf-8"), file.name))
    return values, dict.fromkeys(values, f"recipe {name}")


def _flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """{"train": {"batch": 3}} to {"train.batch": 3}; only the sections we know are opened."""
    sections = set(Config.model_fields) - {"recipe"}
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if name in sections and isinstance(value, dict):
            flat.update({f"{name}.{leaf}": item for leaf, item in value.items()})
        else:
            flat[name] = value
    return {_RENAMED.get(name, name): value for name, value in flat.items()}


def _said_recipe(sets: Sequence[str]) -> object:
    """The recipe that is chosen as a setting, "recipe=edm"; None where there is none."""
    said = [text.partition("=") for text in sets]
    found = [_literal(value.strip()) for key, _, value in said if key.strip() == "recipe"]
    return found[-1] if found else None


def _owns(text: str) -> bool:
    """Whether "key=value" names what a table of options is for."""
    key = text.partition("=")[0].strip()
    return any(key in (owner, owner.rpartition(".")[2]) for owner in _TABLES.values())


def _assignment(text: str, layers: _Layers) -> tuple[str, Any]:
    """Understand "key=value" of --set."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"--set needs key=value, such as train.batch=32, not {text!r}.")
    parsed = _literal(value.strip())
    for table in (*_TABLES, "data.columns"):
        if key.startswith(f"{table}."):
            old = layers.values.get(table, {})
            return table, {**(old if isinstance(old, dict) else {}), key[len(table) + 1 :]: parsed}
    return _full_name(key), parsed


def _literal(text: str) -> object:
    """A value as TOML or Python would write it; anything else is text."""
    plain = {"true": True, "false": False, "none": AUTO}.get(text.lower())
    if plain is not None:
        return plain
    if text.startswith("(") and text.endswith(")"):
        text = f"[{text[1:-1]}]"
    try:
        return parse_toml(f"value = {text}", "--set")["value"]
    except ConfigError:
        return text


def _full_name(key: str) -> str:
    every = fields()
    for old, new in _RENAMED.items():
        key = new if key in (old, old.rpartition(".")[2]) else key
    found = [f.name for f in every if key in (f.name, f.leaf)]
    if key in {f.name for f in every}:
        return key
    if len(found) > 1:
        raise ConfigError(f"'{key}' of --set could be {' or '.join(found)}; say which.")
    if not found:
        raise ConfigError(_unknown(key, "--set"))
    return found[0]


def _build(layers: _Layers) -> Config:
    tree: dict[str, Any] = {}
    for name, value in layers.values.items():
        section, _, leaf = name.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[leaf] = value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_sentence(error, layers)) from error
    except ConfigError as error:  # of options, which are checked where their table is known
        raise ConfigError(_placed(str(error), layers)) from error


def _sentence(error: ValidationError, layers: _Layers) -> str:
    """The first fault in one sentence: what came, from where, what is allowed."""
    fault = error.errors(include_url=False)[0]
    known = {field.name: field for field in fields()}
    path = [str(part) for part in fault["loc"]]
    if not path:  # of settings that do not go together
        return _placed(str(fault["ctx"]["error"]), layers)
    name = ".".join(path[:2]) if ".".join(path[:2]) in known or len(path) > 1 else path[0]
    place = layers.origins.get(name) or next(
        (layers.origins[n] for n in layers.origins if n.startswith(f"{name}.")), None
    )
    if fault["type"] == "extra_forbidden":
        return _unknown(name, place)
    if name in known:
        return _wrong(known[name], layers.values.get(name), place)
    if fault["type"] == "value_error":
        return _placed(str(fault["ctx"]["error"]), layers)
    shown = _shown(layers.values.get(name))
    return f"'{name}' must be a section, [{name}], not {shown}{_at(place)}."


def _placed(sentence: str, layers: _Layers) -> str:
    """Add to a sentence where the settings that it names come from."""
    named = [place for name, place in layers.origins.items() if name in sentence]
    return f"{sentence} See {' and '.join(dict.fromkeys(named))}." if named else sentence


def _unknown(name: str, place: str | None) -> str:
    section, _, leaf = name.rpartition(".")
    every = fields()
    same = [f.name for f in every if f.leaf == leaf]
    hint = f" Did you mean '{same[0]}'?" if same else ""
    hint = hint or near(leaf, [f.leaf for f in every if f.section == section])
    hint = hint or near(name, [f.name for f in every] + sorted({f.section for f in every}))
    hint = hint or near(leaf, [f.leaf for f in every])
    meant = sorted(f"'{f.name}'" for f in every if _shortened(leaf, f.leaf))[:3]
    hint = hint or (f" Did you mean {' or '.join(meant)}?" if meant else "")
    hint = hint or " docs/settings.md and the config.toml of any run list all settings."
    return f"unknown setting '{name}'{_at(place)}.{hint}"


def _shortened(name: str, leaf: str) -> bool:
    """Whether a name is a word of a setting's, or its initials: rate and lr of learning_rate."""
    words = leaf.split("_")
    return len(words) > 1 and name.lower() in (*words, "".join(word[:1] for word in words))


def _wrong(setting: Field, value: object, place: str | None) -> str:
    hint = near(value, setting.choices) if isinstance(value, str) else ""
    return f"{setting.name} must be {setting.kind}, not {_shown(value)}{_at(place)}.{hint}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _at(place: str | None) -> str:
    if not place:
        return ""
    return f" (from {place})" if place.startswith("-") else f" in {place}"
