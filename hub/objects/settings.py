"""The settings of the object store and of links to files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from hub.core.secret_names import url_without_secrets

_DAY_S: Final = 86_400

SCHEMES: Final = ("file", "s3", "gs", "az")


def _url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in SCHEMES or not rest.strip("/"):
        shown = url_without_secrets(value)
        raise ValueError(f"expected {', '.join(f'{each}://' for each in SCHEMES)} and a place, such as s3://bucket/folder, got {shown!r}")
    if scheme != "file" and "@" in rest.partition("/")[0]:
        raise ValueError(
            f"expected no user before the name of the bucket: keys have settings of their own, got {url_without_secrets(value)!r}"
        )
    return value.rstrip("/")


class ObjectsSettings(BaseModel):
    """Where the bytes of files lie, and how they are moved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, AfterValidator(_url)] | None = Field(
        default=None,
        description="Where the bytes of files lie: `file:///var/lib/hub/objects`, `s3://bucket/folder`, `gs://bucket/folder` (Google Cloud "
        "Storage) or `az://container/folder` (Azure). Without it `objects` in `data_dir`. Hubs that share a database need one that they "
        "share.",
    )
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,32}$", description="Region of an S3 bucket.")
    endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+/?$",
        description="URL of a server that speaks S3's protocol, such as `https://s3.example.com`; without it Amazon's.",
    )
    path_style: bool | None = Field(
        default=None, description="Whether the bucket stands in the path and not in the host name; by default where `endpoint` is set."
    )
    access_key_id: str | None = Field(default=None, description="Access key of the S3 bucket.")
    secret_access_key: SecretStr | None = Field(default=None, description="Secret of `access_key_id`.")
    kms_key_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9:/_-]{1,256}$",
        description="Key of Amazon's KMS with which objects of an S3 bucket are encrypted; native links for uploads ask for it.",
    )
    options: Mapping[str, str] = Field(
        default_factory=dict, description='Options of the store as obstore names them, such as `{google_service_account = "/key.json"}`.'
    )
    direct: bool = Field(
        default=False,
        description="Whether clients get links to an S3 bucket itself, and not to the hub; the bucket then needs CORS rules for browsers.",
    )
    max_transfers: int = Field(
        default=200, ge=1, le=100_000, description="Uploads and downloads by links that are under way; a tenant has half; then 503."
    )
    max_transfers_per_address: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Of these, those of one address (IPv6: of its /64); then 503. By default half of a tenant's.",
    )
    max_uploads_per_link: int = Field(
        default=2, ge=1, le=100_000, description="Uploads by one link that are under way, since browsers repeat requests; then 503."
    )
    max_downloads_per_file: int = Field(
        default=16, ge=1, le=100_000, description="Downloads of one file that are under way; of media storage, by one link; then 503."
    )
    max_sends: int = Field(
        default=4,
        ge=1,
        le=1_000,
        description="Uploads that are passed on to a cloud's store at once, each with up to 15 MiB in memory; of one tenant three quarters "
        "of them. Others wait on the disk of `data_dir`.",
    )
    idle_s: float = Field(default=30.0, gt=0, le=3600, description="Seconds that an upload or download may stand still before it is ended.")
    request_s: float = Field(
        default=30.0, gt=0, le=3600, description="Seconds that one request to a cloud's store may last; large objects take several."
    )
    retry_s: float = Field(
        default=10.0,
        ge=0,
        le=240,
        description="Seconds for which a request to a cloud's store is repeated that found it busy (`SlowDown`) or out of reach; then 503.",
    )
    min_bytes_per_s: int = Field(
        default=4096,
        ge=0,
        description="Bytes a second, after `idle_s`, below which an upload is ended, since it keeps others out; a download where more than "
        "half of the transfers are under way that its file, its address, the tenant, or all, may have.",
    )

    def longest_upload_s(self, max_bytes: int) -> float:
        """Seconds that an upload of so many bytes may last: a slower one is ended. Where none is ended for that, a day."""
        return self.idle_s + (max_bytes / self.min_bytes_per_s if self.min_bytes_per_s else _DAY_S)

    @model_validator(mode="after")
    def _whole(self) -> ObjectsSettings:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id, secret_access_key: expected both or neither")
        if self.direct and (self.url is None or not self.url.startswith("s3://") or self.access_key_id is None):
            raise ValueError("direct: expected an s3:// url with access_key_id, by which links are signed")
        return self
