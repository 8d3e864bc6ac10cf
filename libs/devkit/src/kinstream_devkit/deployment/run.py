"""All of `kinstream deploy-local`, from an empty machine to an empty machine."""

import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from kinstream.errors import PermanentError
from kinstream_devkit.demo.run import DemoOptions, Target, run_demo
from kinstream_devkit.demo.show import Show
from kinstream_devkit.deployment.cloud import Cloud, ForeignCall, in_words
from kinstream_devkit.deployment.emulator import FOLDER_PREFIX, IMAGE, TAG_PREFIX, Emulator
from kinstream_devkit.deployment.engine import docker, missing_images
from kinstream_devkit.deployment.expected import DRIFTING, QUICK, SERVICES, changed, dev_variables, kept
from kinstream_devkit.deployment.interruptions import undisturbed
from kinstream_devkit.deployment.terraform import Terraform

APP = "demo"
KILLED = ("ingest-api", "session-worker-activity")
"""Services whose tasks are killed before the demo: the way in, and what counts."""

FOREIGN: dict[str, ForeignCall] = {
    "ingest-api": (
        "dynamodb",
        "put_item",
        {"TableName": "PREFIX-ledger", "Item": {"pk": {"S": "x"}, "sk": {"S": "x"}}},
    ),
    "session-worker-activity": ("sqs", "get_queue_url", {"QueueName": "PREFIX-processor-safety"}),
    "media-worker": ("s3", "list_objects_v2", {"Bucket": "PREFIX-archive"}),
}
"""Calls that a service's role does not allow, as botocore has them."""

_SOURCE = Path("infra/terraform")
_BUILD_SECONDS = 1_500

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What to deploy, and what to do with it."""

    prefix: str = "kinstream-local"
    customers: int = 60
    build: bool = True
    keep: bool = False
    """Keep it, once all is checked, until Ctrl-C."""


def deploy(options: Options, show: Show) -> list[str]:
    """Deploy, check, destroy; what is not as it must be, in words.

    Whatever was started is gone afterwards, however this ends.
    """
    with (
        running_emulator(options.build, show) as started,
        tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder,
        in_words(),
    ):
        return _Deployment(options, show, started, Path(folder)).run()


@contextmanager
def running_emulator(build: bool, show: Show) -> Iterator[Emulator]:
    """An emulator, its images made before where that is wanted.

    Taken away at the end with all that it has started; after an error its last words are shown.
    """
    if not _SOURCE.is_dir():
        raise PermanentError(f"there is no {_SOURCE} here; run this in the repository's folder")
    started = Emulator()
    try:
        with undisturbed():
            started.claim()
        build_images(build, show)
        with show.step("starting the emulator") as step:
            started.start(step.say)
        yield started
    except BaseException as error:
        with undisturbed():
            _end_after(error, started, show)
        raise
    with undisturbed():
        _take_away(started, show)


def _end_after(error: BaseException, started: Emulator, show: Show) -> None:
    log = started.log() if isinstance(error, Exception) else ""
    try:
        _take_away(started, show)
    except PermanentError as further:
        # Not in place of the first, which is told last.
        show.say(escape(str(further)))
    if log:
        show.say(f"the emulator's last words:\n{escape(log)}")


def _take_away(started: Emulator, show: Show) -> None:
    with ExitStack() as stack:
        # Even where nobody is there to be told.
        with suppress(OSError):
            stack.enter_context(show.step("taking away all that was started"))
        started.stop()


def build_images(is_wanted: bool, show: Show) -> None:
    """Make the images of the services and of the emulator, where that is wanted."""
    files = {f"kinstream/{name}": f"services/{name}/Dockerfile" for name in SERVICES}
    files[IMAGE] = "infra/emulator/Dockerfile"
    if is_wanted:
        for image, file in files.items():
            with show.step(f"building {image}"):
                docker("build", "-q", "-f", file, "-t", image, ".", seconds=_BUILD_SECONDS)
    elif missing := missing_images(list(files)):
        raise PermanentError(f"there is no image {', '.join(missing)}; leave --no-build out")


class _Deployment:
    def __init__(self, options: Options, show: Show, started: Emulator, folder: Path) -> None:
        self._options = options
        self._show = show
        self._emulator = started
        self._cloud = Cloud(started.url, options.prefix)
        self._tag = f"{TAG_PREFIX}{secrets.token_hex(4)}"
        self._url = ""
        self._terraform = Terraform(_SOURCE, folder / "terraform", "dev", self._variables(run_services=False))

    def run(self) -> list[str]:
        """What is not as it must be."""
        self._first_deploy()
        problems = self._problems_of_roles()
        self._kill()
        problems += self._send()
        with self._show.step("terraform plan, which must be empty"):
            odd = changed(self._terraform.plan()) - DRIFTING
        problems += [f"a second plan would change {kind}" for kind in sorted(odd)]
        if self._options.keep:
            self._show.say(kept(self._url, len(problems)))
            # That one is not the end: what follows is what was asked for.
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
        with self._show.step("terraform destroy") as step:
            self._terraform.destroy(step.say)
        left = [*self._terraform.run("state", "list").split(), *self._emulator.started()]
        return [*problems, *(f"destroy left {name}" for name in left)]

    def _problems_of_roles(self) -> list[str]:
        with self._show.step("asking tasks who they are, and for what is another's"):
            return [
                f"the task of {service} {problem}"
                for service, foreign in FOREIGN.items()
                for problem in self._cloud.problems_of_role(service, foreign)
            ]

    def _kill(self) -> None:
        for service in KILLED:
            with self._show.step(f"killing the task of {service}, and waiting for another"):
                self._cloud.kill_a_task(service)
        with self._show.step("waiting until all are ready again") as step:
            self._cloud.wait_for_services(step.say)
            self._cloud.wait_for_api(self._url)

    def _send(self) -> list[str]:
        write_key, secret_key = self._cloud.create_keys(APP)
        target = Target(self._url, write_key, secret_key)
        found = run_demo(DemoOptions(customers=self._options.customers, target=target), self._show)
        compared = sum(comparison.expected for comparison in found.comparisons)
        self._show.say(f"{compared} results compared; no training, for the emulator's EMR runs no job")
        return [
            f"{comparison.what} of {one.key}: expected {one.expected}, found {one.found}"
            for comparison in found.comparisons
            for one in comparison.differences
        ]

    def _first_deploy(self) -> None:
        """In the order of docs/operations.md."""
        show, terraform, cloud = self._show, self._terraform, self._cloud
        with show.step("terraform init"):
            terraform.init()
        with show.step("terraform apply, everything but the services") as step:
            terraform.apply(step.say)
        outputs = terraform.outputs()
        self._url = outputs["url"]
        with show.step("images and secrets"):
            for service, repository in outputs["repositories"].items():
                docker("tag", f"kinstream/{service}", f"{repository}:{self._tag}")
            cloud.put_secrets(outputs)
        with show.step("migrating the catalog, a one-off task"):
            cloud.run_once(f"{self._options.prefix}-migrate", outputs["task_network"])
        terraform.set(self._variables(run_services=True))
        with show.step("terraform apply, the services") as step:
            # What the emulator tells otherwise than it was told is not worth two minutes of mending.
            terraform.apply(step.say, refresh=False)
        with show.step("waiting until all are ready") as step:
            cloud.wait_for_services(step.say)
            cloud.wait_for_api(self._url)

    def _variables(self, *, run_services: bool) -> Mapping[str, Any]:
        there, by_tasks = self._emulator.url, self._emulator.seen_by_tasks
        variables = dev_variables(self._options.prefix, self._tag, there, by_tasks, checks_iam=True)
        return {**variables, "settings": QUICK, "run_services": run_services}
