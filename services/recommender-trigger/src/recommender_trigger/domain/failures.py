"""Why runs fail, and what follows from it. Pure."""

from enum import StrEnum


class Cause(StrEnum):
    """The kind of a failure. It decides who tries again, and when."""

    REFUSED = "refused"
    """The request, the account or the settings are wrong: a person has to mend them."""
    STOPPED = "stopped"
    """A person ended the cluster or the job."""
    MACHINES = "machines"
    """Machines were not to be had, or broke: elsewhere it may work at once."""
    JOB = "job"
    """The job itself failed, or left no output that is whole."""
    DEADLINE = "deadline"
    """It took too long, and would again."""
    SWITCHED_OFF = "switched off"
    """Training was switched off while it ran."""

    @property
    def needs_person(self) -> bool:
        """Trying again soon changes nothing, or is what somebody has just stopped."""
        return self in (Cause.REFUSED, Cause.STOPPED, Cause.DEADLINE)


_OF_CLUSTER = {
    "VALIDATION_ERROR": Cause.REFUSED,
    "USER_REQUEST": Cause.STOPPED,
    "INSTANCE_FLEET_TIMEOUT": Cause.MACHINES,
    "INSTANCE_FAILURE": Cause.MACHINES,
    "INTERNAL_ERROR": Cause.MACHINES,
}

_WORDS_OF_MACHINES = ("capacity", "insufficient", "internal", "unavailable", "throttl", "ip address")


def cause_of_cluster(code: str) -> Cause:
    """From the code with which a cluster ended. What is left is the job's: its step, or its bootstrap."""
    return _OF_CLUSTER.get(code, Cause.JOB)


def cause_of_job_run(state: str, details: str) -> Cause:
    """From the state of a job run on EMR Serverless, which has no codes, and its details in words."""
    if state == "CANCELLED":
        return Cause.STOPPED
    words = details.lower()
    # A job that came to run says how it exited.
    if "exitcode" not in words and any(word in words for word in _WORDS_OF_MACHINES):
        return Cause.MACHINES
    return Cause.JOB
