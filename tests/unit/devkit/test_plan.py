"""`kinstream plan`: its curves, its costs, what it says, and what it says of bad input."""

import json
import re
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.cost_model import Usage, path_cost
from kinstream.errors import PermanentError
from kinstream_devkit.cli import main
from kinstream_devkit.plan.domain.costs import dollars
from kinstream_devkit.plan.domain.curve import Surge, daily, from_csv, surged, times
from kinstream_devkit.plan.domain.deployment import deployment
from kinstream_devkit.plan.domain.simulation import simulate
from kinstream_devkit.plan.domain.tables import hot_groups_a_second, hottest_share
from kinstream_devkit.plan.files import MEASURED_FILE, read_assumptions, read_handles, read_prices
from tests.support.repository import ROOT

PROCESSORS, PRICES = ROOT / "infra/terraform/processors.json", ROOT / "benchmarks/prices.json"
STEP_SECONDS = 60.0
AT = times(STEP_SECONDS)
PNG_BEGINS = b"\x89PNG\r\n"


def run(folder: Path, *arguments: object):
    """The command, with the repository's files and a picture in the folder."""
    files = ["--processors", PROCESSORS, "--prices", PRICES, "--png", folder / "plan.png"]
    return CliRunner().invoke(main, ["plan", *map(str, [*files, *arguments])])


@pytest.mark.parametrize("peak_factor", [1, 1.5, 2.5, 10])
def test_a_day_has_the_events_and_the_peak_that_were_asked_for(peak_factor):
    rates = daily(AT, events_a_day=1e6, peak_factor=peak_factor, peak_at_seconds=20 * 3_600)
    assert rates.sum() * STEP_SECONDS == pytest.approx(1e6)
    assert rates.max() / rates.mean() == pytest.approx(peak_factor, rel=1e-4)
    assert peak_factor == 1 or AT[rates.argmax()] == pytest.approx(20 * 3_600, abs=STEP_SECONDS)


def test_a_surge_rises_within_its_minute_and_falls_as_fast():
    flat = np.full(len(AT), 10.0)
    found = surged(flat, AT, Surge(20, 36_000, 60, 600))
    assert found[AT < 36_000].max() == found[AT > 36_660].max() == 10
    assert found[(AT > 36_060) & (AT < 36_600)] == pytest.approx(200)
    assert 10 < found[600] < 200


def test_a_curve_from_a_file_is_joined_by_straight_lines():
    rates = from_csv("time,events per second\n# night\n06:00,0\n\n43200, 60\n18:00:00,60\n", AT)
    assert rates[AT < 6 * 3_600].max() == 0
    assert rates[9 * 60] == pytest.approx(30, abs=0.2)
    assert rates[AT > 18 * 3_600].min() == 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no line"),
        ("time,events\n", "has no line"),
        ("06:00,1\n05:00,2", "line 2: times must rise"),
        ("06:00,1\n06:00,2", "line 2: times must rise"),
        ("06:00,-1", "line 1: '-1' is no number"),
        ("06:00,nan", "line 1: 'nan' is no number"),
        ("06:00,inf", "line 1: 'inf' is no number"),
        ("noon,1", "line 1: 'noon' is no time"),
        ("25:00,1", "beyond the day"),
        ("06:75,1", "minutes and seconds end at 59"),
        ("06:00", "line 1: two values are needed"),
        ("06:00,1\n07:00,1,2", "line 2: two values are needed, time and events a second; there are 3"),
    ],
)
def test_a_curve_that_makes_no_sense_is_refused_by_its_line(text, said):
    with pytest.raises(PermanentError, match=re.escape(said)):
        from_csv(text, AT)


def test_zipf_gives_the_first_of_a_thousand_an_eighth_and_alike_keys_the_same():
    assert hottest_share(1_000, 1) == pytest.approx(1 / sum(1 / rank for rank in range(1, 1_001)))
    assert hottest_share(50, 0) == pytest.approx(1 / 50)


def test_slots_spread_a_hot_key_over_as_many_keys_as_tasks_drew():
    alone = hot_groups_a_second(1, 10, 4, slots=16, tasks=1)
    assert alone == pytest.approx(250)
    assert hot_groups_a_second(1, 10, 4, slots=16, tasks=2) == pytest.approx(alone * (2 - 1 / 16))
    assert hot_groups_a_second(1, 10, 4, slots=16, tasks=10_000) == pytest.approx(alone * 16)
    # One event in ten groups of ten is the hot one's.
    assert hot_groups_a_second(0.01, 10, 4, slots=1, tasks=1) == pytest.approx(250 / (1 - 0.99**10))


def test_a_plan_costs_what_the_cost_model_of_the_benchmarks_says():
    given, handles = read_assumptions(), read_handles(PROCESSORS)
    prices = read_prices(PRICES).prices
    deployed = deployment(given, handles, "prod")
    day = simulate(np.full(len(AT), 1_000.0), STEP_SECONDS, deployed)
    found = {charge: values.sum() for charge, values in dollars(day, deployed, given, prices).items()}
    events = 86.4e6
    content = sum(given.traffic.mix[kind] for kind in handles["content"])
    theirs = path_cost(
        prices,
        Usage(
            event_bytes=500,
            events_a_chunk=20,
            messages_a_receive=10,
            queues=4,
            write_units_per_1000=344 + 200 + (329 + 285 + 244) * content + 580 * 0.1,
            read_units_per_1000=100 + 100 * content + 100 * 0.1,
            cpu_us_an_event=1,
            cpu_utilisation=1,
            memory_gb_a_vcpu=2,
            events_a_second=1_000,
            archive_files_an_hour=2 * 180,
            archive_bytes_an_event=150,
        ),
    )
    for charge in ("SNS", "DynamoDB writes", "DynamoDB reads", "S3"):
        assert found[charge] == pytest.approx(theirs[charge] * events / 1e6, rel=1e-3), charge
    assert found["load balancer"] == pytest.approx(theirs["load balancer"] * events / 1e6, rel=1e-3)
    task = 0.5 * prices["fargate_vcpu_hour"] + prices["fargate_gb_hour"]
    spot = 0.5 * prices["fargate_spot_vcpu_hour"] + prices["fargate_spot_gb_hour"]
    assert found["Fargate, processors"] == pytest.approx(24 * 4 * (task + 0.3 * task + 0.7 * spot))


@pytest.mark.parametrize("environment", ["prod", "dev"])
def test_sizes_are_those_of_terraform(environment):
    told = (ROOT / f"infra/terraform/envs/{environment}/main.tf").read_text()
    of_kind = (ROOT / "infra/terraform/modules/stack/services.tf").read_text()
    given = read_assumptions()
    for service in ("ingest-api", "session-worker"):
        sizes = _named(of_kind, "scaling_of_kind", service) | _named(told, "scaling", service)
        scaling = given.environments[environment].scaling_of(service, service)
        assert {name: getattr(scaling, name) for name in sizes} == sizes
    for name, task in {"ingest-api": given.api, "session-worker": given.worker}.items():
        size = _named(of_kind, "size_of_kind", name)
        assert (task.vcpu * 1024, task.memory_gb * 1024) == (size["cpu"], size["memory_mb"])


def test_a_task_is_given_what_the_slowest_processor_does_in_time_even_if_all_chunks_are_full():
    given = read_assumptions()
    full = msgspec.structs.replace(given.traffic, events_a_message=100)
    deployed = deployment(msgspec.structs.replace(given, traffic=full), read_handles(PROCESSORS), "prod")
    slowest = max(1 / consumer.messages_a_second for consumer in deployed.consumers)
    scaling = given.environments["prod"].scaling_of("session-worker", "session-worker")
    assert 1 < scaling.seconds_per_message / slowest < 1.5


def _named(text: str, block: str, service: str) -> dict[str, float]:
    """`name = number` of one service in a block of Terraform."""
    bodies = re.findall(rf"^  {block} = {{\n(.*?)^  }}", text, re.DOTALL | re.MULTILINE)
    lines = re.findall(rf"^ +{service} += {{(.*)}}$", "".join(bodies), re.MULTILINE)
    assert lines, f"{block} says nothing of {service}"
    return {name: float(number) for line in lines for name, number in re.findall(r"(\w+) = ([\d.]+)", line)}


def test_a_chunk_comes_whole_where_one_of_its_events_is_wanted():
    of = {one.name: one for one in deployment(read_assumptions(), read_handles(PROCESSORS), "prod").consumers}
    assert (of["activity"].messages_a_chunk, of["activity"].events_a_message) == (1, 20)
    # One event in ten is a place, and there are twenty in a chunk.
    assert of["safety"].messages_a_chunk == pytest.approx(1 - 0.9**20)
    assert of["safety"].messages_a_chunk * of["safety"].events_a_message == pytest.approx(2)


def test_a_task_is_as_fast_as_its_cpu_or_its_waits_let_it():
    def pace(**worker):
        over = {"worker": worker, "processors": {"activity": {"cpu_us_an_event": 100}}}
        found = deployment(read_assumptions(over=over), read_handles(PROCESSORS), "prod").consumers[0]
        return found.messages_a_second

    # Ten messages of twenty events are 20 ms of CPU, and half a vCPU takes 40 ms for that.
    assert pace(cpu_us_a_group=0, wait_ms_a_group=10) == pytest.approx(10 / 0.04)
    # Two groups at once, each of which waits for 160 ms besides.
    assert pace(cpu_us_a_group=0, wait_ms_a_group=160) == pytest.approx(2 * 10 / 0.2)
    # More than one core is of no use to one process.
    assert pace(cpu_us_a_group=0, wait_ms_a_group=0, vcpu=4) == pytest.approx(10 / 0.02)


def test_every_processor_is_measured_and_every_table_exists():
    values = tomllib.loads(MEASURED_FILE.read_text())
    assert set(read_handles(PROCESSORS)) <= set(values["processors"])
    deployed = deployment(read_assumptions(), read_handles(PROCESSORS), "prod")
    assert set(deployed.tables) <= {"ledger", "counters", "records", "outbox"}


def test_the_plan_tells_of_both_days_and_draws_them(tmp_path):
    done = run(tmp_path)
    assert done.exit_code == 0, done.output
    assert "a normal day: 33,000,000 events" in done.output
    _, told, *_ = (ROOT / "docs/capacity.md").read_text().split("```")
    shown = [line.rstrip() for line in told.splitlines()[2:] if line != "..."]
    assert shown, "docs/capacity.md shows nothing"
    printed = {line.rstrip() for line in done.output.splitlines()}
    assert [line for line in shown if line not in printed] == [], "docs/capacity.md shows another plan"
    assert (tmp_path / "plan.png").read_bytes().startswith(PNG_BEGINS)


def test_what_is_said_on_the_command_line_counts(tmp_path):
    arguments = ["--events-per-day", "33e6", "--tasks", "content=4-9", "--rate", "content=1500", "--json"]
    warm = ["--warm", "counters=1e6", "--warm", "ledger=1e6", "--warm", "records=1e6"]
    done = run(tmp_path, *arguments, *warm)
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    normal, surge = told["days"]
    content = next(one for one in surge["services"] if one["name"] == "content")
    assert (content["most_tasks"], content["max_tasks"]) == (9, 9)
    assert content["peak_backlog"] > 0
    assert all(table["refusing_minutes"] == 0 for table in surge["tables"])
    assert normal["total_dollars"] == pytest.approx(sum(normal["dollars"].values()))
    assert told["assumptions"]["processors"]["content"]["events_a_second"] == 1500


def test_a_day_without_events_costs_what_the_fewest_tasks_do(tmp_path):
    done = run(tmp_path, "--events-per-day", "0", "--json")
    assert done.exit_code == 0, done.output
    normal, surge = json.loads(done.output)["days"]
    assert normal["dollars"] == surge["dollars"]
    assert normal["dollars"]["DynamoDB writes"] == 0 < normal["dollars"]["Fargate, processors"]


def test_a_file_of_rates_says_only_what_differs(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text("[worker]\nvcpu = 1\n[traffic.mix]\n'screen.viewed' = 1.0\n")
    given = read_assumptions(own)
    assert (given.worker.vcpu, given.worker.memory_gb) == (1, read_assumptions().worker.memory_gb)
    assert given.traffic.mix == {"screen.viewed": 1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--environment", "staging"], "there is no environment staging; there are prod, dev"),
        (["--tasks", "content"], "write SERVICE=MIN-MAX"),
        (["--tasks", "content=9-4"], "write SERVICE=MIN-MAX, with whole numbers"),
        (["--tasks", "nobody=1-2"], "there is no 'nobody'; there are ingest-api, session-worker, activity"),
        (["--rate", "content=fast"], "'fast' is no number above 0"),
        (["--rate", "content=0"], "'0' is no number above 0"),
        (["--rate", "content=nan"], "'nan' is no number above 0"),
        (["--warm", "cellar=1"], "there is no 'cellar'; there are counters, ledger, records"),
        (["--peak-factor", "0.5"], "between 1 and 10"),
        (["--peak-at", "late"], "'late' is no time"),
        (["--surge", "0"], "is not in the range"),
        (["--surge", "nan"], "'nan' is no number"),
        (["--surge-minutes", "nan"], "'nan' is no number"),
        (["--events-per-day", "nan"], "'nan' is no number"),
        (["--png", "/dev/null/plan.png"], "/dev/null/plan.png cannot be written"),
        (["--events-per-day", "-1"], "is not in the range"),
        (["--curve", "nowhere.csv"], "there is no file nowhere.csv"),
        (["--rates", "nowhere.toml"], "there is no file nowhere.toml"),
    ],
)
def test_bad_options_are_refused_in_words(tmp_path, arguments, said):
    done = run(tmp_path, *arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[worker", "is no TOML"),
        ("[worker]\nvcpu = -1", "$.worker.vcpu"),
        ("[worker]\nvcpus = 1", "unknown field `vcpus`"),
        ("[worker]\nvcpu = 'one'", "Expected `float`, got `str` - at `$.worker.vcpu`"),
        ("[traffic.mix]\na = 0.5", "must be 1 together, not 0.5"),
        ("[environments.prod.scaling]\nsession-workers = {min_tasks = 1}", "scaling names session-workers"),
        ("[environments.prod.scaling]\nsession-worker = {max_tasks = 1}", "must not be below min_tasks (2)"),
        ("[aws]\nperiod_seconds = 7", "$.aws.period_seconds"),
        ("[worker]\nwait_ms_a_group = inf", "$.worker.wait_ms_a_group"),
        ("[worker]\nvcpu = nan", "$.worker.vcpu"),
        (
            "[[processors.content.hot_keys]]\ntable = 'nowhere'\nkeys = 1\nzipf = 1\nunits_a_write = 1",
            "the table nowhere, which write_units_per_1000 does not",
        ),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_by_its_field(tmp_path, text, said):
    own = tmp_path / "own.toml"
    own.write_text(text)
    done = run(tmp_path, "--rates", own)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())


def test_a_processor_that_nobody_measured_is_named(tmp_path):
    processors = tmp_path / "processors.json"
    processors.write_text('{"screen-time": {"handles": ["screen.used"]}}')
    done = run(tmp_path, "--processors", processors)
    assert done.exit_code == 2
    assert "[processors.screen-time] by --rates" in done.output


def test_prices_that_lack_one_are_refused(tmp_path):
    prices = tmp_path / "prices.json"
    prices.write_text('{"region": "r", "as_of": "now", "prices": {"sns_request": 1}}')
    done = run(tmp_path, "--prices", prices)
    assert done.exit_code == 2
    assert "lacks prices: sqs_request" in done.output
