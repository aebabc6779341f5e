"""The settings of the section ``media_storage``."""

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024


class MediaStorageSettings(BaseModel):
    """The folders of tenants by Alvaria's API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_file_bytes: int = Field(
        default=100 * MIB, ge=1, le=5 * 1024 * MIB, description="Bytes of one uploaded file; more is refused before they are read."
    )
    max_tenant_bytes: int = Field(
        default=10 * 1024 * MIB,
        ge=1,
        description="Bytes of all files of a tenant below `exports/` and `imports/`; more uploads are refused.",
    )
    max_tenant_files: int = Field(
        default=1_000_000, ge=1, le=100_000_000, description="Files of a tenant below `exports/` and `imports/`; more uploads are refused."
    )
    max_used_links: int = Field(
        default=1_000_000,
        ge=1,
        le=100_000_000,
        description="Uploads of a tenant whose links have not ended yet: each link works once, so it is remembered. More are refused.",
    )
    arrivals_s: float = Field(
        default=2.0,
        gt=0,
        le=3_600,
        description="Seconds between two looks for what was uploaded to a bucket itself (`objects.direct`).",
    )
    link_s: int = Field(default=3_600, ge=1, le=604_800, description="Seconds for which a signed link is good.")
    keep_imports_days: float = Field(default=30, gt=0, le=3_650, description="Days after which files below `imports/` are deleted.")
    keep_exports_days: float = Field(default=90, gt=0, le=3_650, description="Days after which files below `exports/` are deleted.")
