"""docs/operations.md as somebody follows it on an emulator: its commands, in one shell script."""

import re
from collections.abc import Iterable, Iterator

_EMULATOR = "## Trying it out without AWS"
_FIRST_DEPLOY = "## First deploy"
_RELEASE = "### Any later release"
_DEAD_LETTERS = "### Dead letters"
_ASSIGNMENT = re.compile(r"(\w+) += ")
_CATALOG_HOST = (
    "$(terraform output -json catalog |"
    """ python3 -c 'import json, sys; print(json.load(sys.stdin)["address"])')"""
)
_KEY = "{kind}_key=$({create} {kind} | grep -o 'k[ws]_[A-Za-z0-9_-]*' | head -n 1)"
_BEGIN = """set -euo pipefail
step() { echo "=== $* ($(date +%T))"; }
eventually() {
  for _ in $(seq 90); do if "$@" >/dev/null 2>&1; then return; fi; sleep 2; done
  echo "never: $*"; return 1
}
two() { [ "$(docker ps | grep -c session-worker-content)" = 2 ]; }
set_aside() { aws sqs receive-message --queue-url $dlq --visibility-timeout 0 | grep -q nonsense; }
says() { tee said.txt; grep -q "$1" said.txt; }
export AWS_PAGER= TF_INPUT=0 TF_IN_AUTOMATION=1
export TF_CLI_ARGS_apply='-auto-approve -no-color' TF_CLI_ARGS_destroy='-auto-approve -no-color'
repository=$PWD
"""
"""What a person does beside typing: says yes, waits, looks."""


class OperationsPage:
    """The page: blocks of commands by where they stand, and what the table of the emulator says instead."""

    def __init__(self, text: str) -> None:
        self._text = text
        emulator = self._section(_EMULATOR)
        rows = re.findall(r"^\| (.+?) \| (.+) \|$", emulator, re.M)
        self._instead = {
            re.sub(r"\[(.+?)\]\(.+?\)", r"\1", step): re.findall(r"`([^`]+)`", said) for step, said in rows
        }
        self._give_back = _blocks(emulator)[-1]

    def script(self) -> str:
        """All of it, from an empty emulator to an empty emulator."""
        return "\n".join([_BEGIN, self._of_version_1(), *self._deploy(), *self._use(), *self._end()])

    def _deploy(self) -> Iterator[str]:
        yield "step 1 a bucket for the state"
        yield self._said("1")[0]
        yield "step 2 variables"
        yield "cd infra/terraform/envs/dev"
        yield _file("terraform.tfvars", _assignments(self._said("2")))
        yield "step 3 everything but the services"
        state = _with(self._of_step(3)[0], _assignments(self._said("3")))
        yield state.replace("cd infra/terraform/envs/prod\n", "")
        yield "step 4 images and secrets"
        yield self._said("4")[0]
        images, catalog = self._of_step(4)
        yield self._named(images[images.index("aws secretsmanager") :])
        yield self._named(catalog).replace("HOST", _CATALOG_HOST)
        yield "step 5 the catalog"
        yield self._migrate()
        yield "step 6 the services"
        yield _set("terraform.tfvars", self._said("6")[0])
        yield "terraform apply"
        yield self._said("6")[1]
        yield self._named(self._of_step(6)[2])

    def _use(self) -> Iterator[str]:
        yield "step 7 an app, and what it sends"
        yield "cd $repository"
        create = self._said("7")[1].removesuffix(" write")
        yield from (_KEY.format(kind=kind, create=create) for kind in ("write", "secret"))
        yield self._said("send")[0].replace("kw_...", "$write_key").replace("ks_...", "$secret_key")
        yield f"{self._said('audit')[0]} | says '{self._said('audit')[1]}'"
        yield "step scale"
        yield self._said("scale")[0]
        yield "eventually two"
        yield "step dead letters"
        looking, *_ = _blocks(self._section(_DEAD_LETTERS))
        yield re.sub("^queue=.*$", self._said("dead letters")[0], looking, flags=re.M)
        yield self._said("dead letters")[1]
        yield "eventually set_aside"
        yield self._give_back
        yield "eventually set_aside"

    def _end(self) -> Iterator[str]:
        yield "step a release"
        yield "cd infra/terraform/envs/dev"
        old, new = self._said("release")[1], self._said("release")[0]
        yield self._said("4")[0].replace(old, new)
        yield _set("terraform.tfvars", self._said("release")[2])
        yield _blocks(self._section(_RELEASE))[0].replace("# then step 5", f"\n{self._migrate()}")
        yield self._said("6")[1]
        yield "step a setting"
        yield _set("terraform.tfvars", self._said("settings")[0])
        yield "terraform apply"
        yield "step teardown"
        yield self._said("teardown")[0]

    def _migrate(self) -> str:
        return f"({self._named(self._of_step(5)[0])}) | says 'the catalog is up to date'"

    def _of_version_1(self) -> str:
        said = re.findall(r"^`(aws\(\) .+?)`", self._section(_EMULATOR), re.M)[0]
        return f"if aws --version 2>&1 | grep -q aws-cli/1; then {said}; fi"

    def _of_step(self, number: int) -> list[str]:
        section = self._section(_FIRST_DEPLOY)
        begin = section.index(f"**{number}. ")
        end = section.find(f"**{number + 1}. ", begin)
        return _blocks(section[begin:end] if end > 0 else section[begin:])

    def _said(self, step: str) -> list[str]:
        return self._instead[step]

    def _named(self, commands: str) -> str:
        theirs, ours = self._instead["4 to 7"][1], self._instead["4 to 7"][0]
        return commands.replace(theirs, ours)

    def _section(self, heading: str) -> str:
        """From a heading to the next of its level, or of one above."""
        _, _, text = self._text.partition(f"\n{heading}\n")
        level = len(heading.partition(" ")[0])
        return re.split(rf"^#{{1,{level}}} ", text, maxsplit=1, flags=re.M)[0]


def _blocks(text: str) -> list[str]:
    """Fenced blocks, without the room before their lines."""
    found = re.findall(r"^( *)```\n(.*?)^ *```$", text, re.M | re.S)
    return [re.sub(rf"^{room}", "", block, flags=re.M) for room, block in found]


def _assignments(said: Iterable[str]) -> list[str]:
    return [one for one in said if _ASSIGNMENT.match(one)]


def _with(block: str, assignments: Iterable[str]) -> str:
    """A file that a block writes, with these lines in place of those of the same name, or beside them."""
    for one in assignments:
        name = _ASSIGNMENT.match(one)[1]  # type: ignore[index]
        if not re.search(rf"^{name} +=", block, re.M):
            block = block.replace("\nEND\n", f"\n{one}\nEND\n")
        block = re.sub(rf"^{name} +=.*$", one, block, flags=re.M)
    return block


def _file(name: str, lines: Iterable[str]) -> str:
    return "\n".join([f"cat >{name} <<'END'", *lines, "END"])


def _set(name: str, assignment: str) -> str:
    """A line of a file, in place of that of the same name."""
    variable = _ASSIGNMENT.match(assignment)[1]  # type: ignore[index]
    return f"sed -i '/^{variable} /d' {name}\n" + _file(f">{name}", [assignment])
