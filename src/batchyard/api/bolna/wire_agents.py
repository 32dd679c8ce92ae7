"""The shapes of agents, numbers and the team itself."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from batchyard.api.bolna.wire import EXAMPLE_ID, HEX_ID, Time, is_web_address


def _web_address(text: str) -> str:
    if text and not is_web_address(text):
        raise ValueError("must be an absolute http or https address")
    return text


WebAddress = Annotated[str, AfterValidator(_web_address)]
Hour = Annotated[int, Field(ge=0, le=23)]
Name = Annotated[str, Field(min_length=1, max_length=255, examples=["Alfred"])]


class Guardrails(BaseModel):
    """Hours of the recipient's day in which calls are made: from start, before end."""

    model_config = ConfigDict(extra="allow", strict=True)

    call_start_hour: Hour = Field(examples=[9])
    call_end_hour: Hour = Field(examples=[17])


class AgentChanges(BaseModel):
    """Configuration of an agent; any other key is kept and given back."""

    model_config = ConfigDict(extra="allow", strict=True)

    agent_name: Name | None = None
    webhook_url: WebAddress | None = Field(
        default=None,
        description="gets every call of the agent at each change of its status",
        examples=["https://example.com/calls"],
    )
    calling_guardrails: Guardrails | None = None


class AgentConfig(AgentChanges):
    """Configuration of an agent; any other key is kept and given back."""

    agent_name: Name


class NewAgent(BaseModel):
    """An agent; any other key is kept and given back."""

    model_config = ConfigDict(extra="allow", strict=True)

    agent_config: AgentConfig
    agent_prompts: dict[str, object] | None = Field(
        default=None, examples=[{"task_1": {"system_prompt": "You are kind."}}]
    )


class ChangedAgent(BaseModel):
    """What is to change of an agent; keys that are not given stay."""

    model_config = ConfigDict(extra="allow", strict=True)

    agent_config: AgentChanges | None = None
    agent_prompts: dict[str, object] | None = None


class AgentCreated(BaseModel):
    """Answer to a new agent."""

    agent_id: str = Field(examples=[EXAMPLE_ID])
    state: Literal["created"]


class Agent(BaseModel):
    """An agent, with every key of its configuration beside these."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(examples=[EXAMPLE_ID])
    agent_name: str = Field(examples=["Alfred"])
    agent_status: Literal["processed"]
    agent_prompts: dict[str, object]
    created_at: Time
    updated_at: Time


class AgentStopped(BaseModel):
    """The calls that were not sent and will not be."""

    stopped_executions: list[str] = Field(
        examples=[[EXAMPLE_ID]],
        description="without those that were just being sent, of which some may end `stopped` too",
    )


class Number(BaseModel):
    """A telephone number of the team."""

    id: str = Field(pattern=HEX_ID)
    humanized_created_at: str
    created_at: Time
    humanized_updated_at: str
    updated_at: Time
    renewal_at: str | None
    phone_number: str = Field(examples=["+4520123456"])
    agent_id: str | None
    price: str | None
    telephony_provider: str
    rented: bool


class Concurrency(BaseModel):
    """Calls at the same time."""

    max: int
    current: int


class User(BaseModel):
    """The team, as the vendor shows a user."""

    id: str = Field(examples=[EXAMPLE_ID])
    name: str
    email: str | None
    wallet: float | None
    concurrency: Concurrency
