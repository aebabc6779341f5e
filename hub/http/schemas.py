"""The models that answers of all REST calls share, as ``/openapi.json`` describes them."""

from pydantic import BaseModel, Field


class Status(BaseModel):
    """How a request went: code 0 is done."""

    code: int = Field(description="0 done, 1 sent, 2 partly done, else an error.", examples=[0])
