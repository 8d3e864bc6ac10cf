"""Settings of ingest-api, beside those that every service shares."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from ingest_api.url_signing import UrlSigner, parse_keys
from kinstream.catalog.limits import MediaSettings
from kinstream.errors import PermanentError
from kinstream.settings import OptionalText

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class IngestSettings(MediaSettings):
    """Read from the environment with the prefix `KINSTREAM_`; frozen once read."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(8080, ge=0, le=65_535)
    s3_public_url: OptionalText = None
    """Where clients reach S3, if not where this service does: an emulator in a container."""
    public_url: OptionalText = None
    """Where clients reach this API, if not by the address that they call: behind TLS, say."""
    media_url_key: SecretStr = Field(
        SecretStr(""), description="a secret of at least 32 characters, or two with a comma between"
    )
    """Secret that signed URLs are made with; while it is replaced `new,old`."""
    media_image_wait_seconds: float = Field(10.0, ge=0, le=25)
    """How long a client waits for a picture that is made for it; then it is told to ask again."""
    media_max_variants: int = Field(200, ge=1)
    """Pictures of other sizes that one item may have: each is made once, and kept."""
    stream_heartbeat_seconds: float = Field(15.0, gt=0)
    """A comment so often on a quiet stream, so that nobody in between takes it for dead."""
    stream_max_waiting_events: int = Field(100, ge=1)
    """Told and not yet read by a client: beyond it its stream ends."""
    stream_max_per_customer: int = Field(20, ge=1)
    stream_max: int = Field(2_000, ge=1)
    """Open streams of one process."""
    publish_linger_seconds: float = Field(0.003, ge=0, le=1)
    """How long events wait for company before they are sent to SNS."""
    publish_in_flight: int = Field(4, ge=1, le=64)
    """Calls to SNS under way at once."""
    backlog_max_events: int = Field(50_000, ge=1_000)
    """Events in memory that SNS has not confirmed; beyond it senders are told to come back."""
    backlog_max_bytes: int = Field(64 * 1024 * 1024, ge=2 * 1024 * 1024)
    aws_timeout_seconds: float = Field(2.0, gt=0, le=10)
    """Of one attempt to reach AWS; there are two, so that a sender hears within 5 s."""
    key_cache_seconds: float = Field(10.0, ge=0)
    """How long a revoked key may still work."""
    trending_cache_seconds: int = Field(15, ge=1)
    recommendation_cache_seconds: float = Field(10.0, ge=0, le=600)
    """How long after a rollback or another change of what is served the old may still be."""
    access_log_every: int = Field(100, ge=1)
    """Of the requests that send events and succeed, one in so many is logged; of others, each."""
    oidc_issuer: OptionalText = None
    """`iss` of the tokens that are taken. None, with the other two below: no tokens are taken."""
    oidc_audience: OptionalText = None
    """What `aud` of a token must be or contain."""
    oidc_jwks_url: OptionalText = Field(None, validate_default=True)
    """Where the issuer publishes its keys; https, or http on this machine."""
    oidc_app: OptionalText = None
    """The app that every token speaks for; else `oidc_app_claim` names it."""
    oidc_app_claim: OptionalText = Field(None, validate_default=True)
    oidc_customer_claim: str = Field("customer_id", min_length=1)
    oidc_role_claim: str = Field("role", min_length=1)
    """The claim that is `guardian` or `child`."""
    oidc_keys_cooldown_seconds: float = Field(30.0, gt=0)
    """Tokens with unknown keys make the issuer's keys be read again no more often than this."""
    head_timeout_seconds: float = Field(10.0, gt=0)
    """How long the head of a request may take, give or take as much again."""
    body_timeout_seconds: float = Field(20.0, gt=0)
    """How long the body of a request may take."""
    rate_limit_events_per_second: float = Field(5_000, ge=0, le=10_000_000, allow_inf_nan=False)
    """Of one key, over all processes; 0 is no limit."""
    rate_limit_burst_events: int = Field(20_000, ge=2_000)
    """How many events beyond its rate a key may have sent. A request may have 1,000."""
    rate_limit_requests_per_second: float = Field(1_000, ge=0, le=1_000_000, allow_inf_nan=False)
    """Of one key or one person's tokens on the reading endpoints; 0 is no limit."""
    rate_limit_burst_requests: int = Field(5_000, ge=1)

    @field_validator("media_url_key")
    @classmethod
    def _urls_can_be_signed(cls, keys: SecretStr) -> SecretStr:
        try:
            if keys.get_secret_value():
                UrlSigner(parse_keys(keys.get_secret_value()))
        except PermanentError as error:
            raise ValueError(str(error)) from None
        return keys

    @field_validator("oidc_jwks_url")
    @classmethod
    def _an_issuer_is_described_wholly_or_not_at_all(
        cls, jwks_url: str | None, info: ValidationInfo
    ) -> str | None:
        described = {info.data.get("oidc_issuer"), info.data.get("oidc_audience"), jwks_url}
        if None in described and described != {None}:
            raise ValueError("oidc_issuer, oidc_audience and oidc_jwks_url belong together")
        if jwks_url is not None and not _is_safe(jwks_url):
            raise ValueError("must be https: whoever can change the answer can make tokens")
        return jwks_url

    @field_validator("oidc_app_claim")
    @classmethod
    def _tokens_speak_for_an_app(cls, app_claim: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("oidc_jwks_url") and (app_claim is None) == (info.data.get("oidc_app") is None):
            raise ValueError("set one of oidc_app and oidc_app_claim: a token must speak for an app")
        return app_claim


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
